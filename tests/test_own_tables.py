"""Two tables as people download them, made up here: from the file to a file of predictions, by words only."""

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import dlcourse
from scripts.predict import predict

QUIET = ["logger=none", "callbacks=none", "report=false"]

NUMBERS = """
LotArea OverallQual OverallCond YearBuilt YearRemodAdd BsmtFinSF1 BsmtFinSF2 BsmtUnfSF TotalBsmtSF 1stFlrSF
2ndFlrSF LowQualFinSF GrLivArea BsmtFullBath BsmtHalfBath FullBath HalfBath BedroomAbvGr KitchenAbvGr
TotRmsAbvGrd Fireplaces GarageCars GarageArea WoodDeckSF OpenPorchSF EnclosedPorch 3SsnPorch ScreenPorch
PoolArea MiscVal MoSold YrSold MSSubClass
"""
INCOMPLETE = ("LotFrontage", "MasVnrArea", "GarageYrBlt")  # numbers that are missing in some rows
WORDS = """
MSZoning Street LotShape LandContour Utilities LotConfig LandSlope Condition1 Condition2 BldgType HouseStyle
RoofStyle RoofMatl Exterior1st Exterior2nd MasVnrType ExterQual ExterCond Foundation Heating HeatingQC
CentralAir Electrical KitchenQual Functional PavedDrive SaleType SaleCondition
"""
# Words that are NA where the house has none of it:
RARE = """
Alley BsmtQual BsmtCond BsmtExposure BsmtFinType1 BsmtFinType2 FireplaceQu GarageType GarageFinish GarageQual
GarageCond PoolQC Fence MiscFeature
"""


def write(path, rows, without=()):
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [name for name in rows[0] if name not in without], extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def read(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def houses(count, seed):
    """The columns of the Ames houses; the price is a sum of area, quality and neighbourhood."""
    draw = np.random.default_rng(seed)
    streets = {"NAmes": 0, "CollgCr": 20_000, "OldTown": -25_000, "NridgHt": 60_000}
    rows = []
    for n in range(count):
        row = {"Id": n + 1}
        row |= {name: int(draw.integers(0, 40)) for name in NUMBERS.split()}
        row |= {name: "NA" if draw.random() < 0.2 else int(draw.integers(20, 120)) for name in INCOMPLETE}
        row |= {name: str(draw.choice(["TA", "Gd", "Ex"])) for name in WORDS.split()}
        row |= {name: str(draw.choice(["NA", "TA", "Gd"], p=[0.6, 0.2, 0.2])) for name in RARE.split()}
        row["GrLivArea"], row["OverallQual"] = int(draw.integers(800, 3000)), int(draw.integers(1, 11))
        row["Neighborhood"] = str(draw.choice([*streets]))
        price = 20_000 + 50 * row["GrLivArea"] + 15_000 * row["OverallQual"] + streets[row["Neighborhood"]]
        rows.append({**row, "SalePrice": price + int(draw.normal(0, 5000))})
    return rows


def passengers(count, seed):
    """The columns of the Titanic's passengers; women and children of the first two classes survive."""
    draw = np.random.default_rng(seed)
    rows = []
    for n in range(count):
        sex, of_class, age = str(draw.choice(["male", "female"])), int(draw.integers(1, 4)), float(draw.integers(1, 70))
        saved = sex == "female" or age < 12 and of_class < 3
        row = {"PassengerId": n + 1, "Survived": int(saved), "Pclass": of_class}
        row |= {"Name": f"Person{n}, Mr. {n}", "Sex": sex, "Age": "" if draw.random() < 0.15 else age}
        row |= {"SibSp": int(draw.integers(0, 3)), "Parch": int(draw.integers(0, 3)), "Ticket": f"A/5 {21000 + n}"}
        row |= {"Fare": round(float(draw.gamma(2, 15)), 4), "Cabin": str(draw.choice(["", "", "", "C85", "E46"]))}
        rows.append({**row, "Embarked": str(draw.choice(["S", "C", "Q"]))})
    return rows


def test_houses_from_the_file_to_a_file_of_prices(tmp_path, capsys):
    train, new = houses(500, 0), houses(100, 1)
    new[7]["Neighborhood"] = "Blueste"  # training has no house there
    write(tmp_path / "train.csv", train), write(tmp_path / "test.csv", new, without=["SalePrice"])
    words = ["data=table", f"data.path={tmp_path / 'train.csv'}", "data.target=SalePrice", "data.ignore=[Id]"]
    words += ["data.missing=indicator", "data.unseen=unknown", "model.hidden=[]", "optimizer.lr=0.01"]
    found = dlcourse.run(*QUIET, *words, "trainer.max_epochs=60", f"run_dir={tmp_path / 'run'}").metrics
    assert found["test/r2"] > 0.8
    output = tmp_path / "prices.csv"
    assert predict([f"run={tmp_path / 'run'}", f"input={tmp_path / 'test.csv'}", f"output={output}"]) == 0
    answers = read(output)
    assert [row["Id"] for row in answers] == [str(row["Id"]) for row in new] and "error" not in answers[0]
    prices = np.array([row["SalePrice"] for row in new], float)
    errors = np.array([float(row["predicted"]) for row in answers]) - prices
    assert 1 - errors.var() / prices.var() > 0.8


@pytest.mark.slow
def test_passengers_from_the_file_to_a_file_of_survivors_by_commands(tmp_path):
    """Each refusal names the word that the next command has."""
    train, new = passengers(400, 0), passengers(100, 1)
    write(tmp_path / "train.csv", train), write(tmp_path / "test.csv", new, without=["Survived"])

    def command(script, *words):
        done = subprocess.run([sys.executable, script, *words], capture_output=True, text=True, cwd=Path.cwd())
        return done.returncode, done.stdout + done.stderr

    words = ["data=table", f"data.path={tmp_path / 'train.csv'}", "data.target=Survived"]
    code, said = command("scripts/inspect_data.py", *words)
    assert code == 2 and "data.ignore=[Name]" in said and "data.missing=" in said and "row number" in said
    words += ["data.ignore=[PassengerId,Name,Ticket]", "data.missing=indicator"]
    assert command("scripts/inspect_data.py", *words)[0] == 0
    code, said = command("train.py", *words, "logger=none", f"run_dir={tmp_path / 'run'}")
    assert code == 0 and "report.html" in said
    output = tmp_path / "survivors.csv"
    asked = [f"run={tmp_path / 'run'}", f"input={tmp_path / 'test.csv'}", f"output={output}"]
    assert command("scripts/predict.py", *asked)[0] == 0
    right = [row["predicted"] == str(truth["Survived"]) for row, truth in zip(read(output), new, strict=True)]
    assert sum(right) >= 93
