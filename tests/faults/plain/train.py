"""A training script as Lightning's and Hydra's own introductions teach it: what dlcourse is compared with."""

from pathlib import Path

import hydra
import lightning.pytorch as pl
import numpy as np
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from omegaconf import DictConfig
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


def arrays(cfg: DictConfig) -> tuple[torch.Tensor, torch.Tensor]:
    if cfg.data == "digits":
        from sklearn.datasets import load_digits

        x, y = load_digits(return_X_y=True)
        x = x.reshape(-1, 1, 8, 8) / 16
    elif cfg.data == "mnist":
        from torchvision.datasets import MNIST

        found = MNIST(cfg.data_dir, train=True)
        x, y = found.data[:, None].numpy() / 255, found.targets.numpy()
    elif str(cfg.data).endswith(".npz"):
        stored = np.load(cfg.data)
        x, y = stored["x"], stored["y"]
    else:
        table = np.genfromtxt(cfg.data, delimiter=",", skip_header=1)
        x, y = np.delete(table, cfg.target, 1), table[:, cfg.target]
    return torch.tensor(x, dtype=torch.float32), torch.tensor(y).to(torch.float32 if cfg.regression else torch.long)


class Pictures(torch.utils.data.Dataset):
    def __init__(self, data: torch.utils.data.Dataset) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = self.data[index]
        return torch.roll(x, tuple(torch.randint(-1, 2, (2,)).tolist()), (-2, -1)), y


class Net(pl.LightningModule):
    def __init__(self, cfg: DictConfig, inputs: int, outputs: int, steps: int) -> None:
        super().__init__()
        self.cfg, self.steps = cfg, steps
        norm = nn.BatchNorm1d(cfg.hidden) if cfg.batch_norm else nn.Identity()
        self.net = nn.Sequential(
            nn.Flatten(), nn.Linear(inputs, cfg.hidden), norm, nn.ReLU(), nn.Dropout(cfg.dropout),
            nn.Linear(cfg.hidden, outputs),
        )  # fmt: skip
        self.loss = nn.MSELoss() if cfg.regression else nn.CrossEntropyLoss()

    def step(self, batch: tuple[torch.Tensor, torch.Tensor], stage: str) -> torch.Tensor:
        x, y = batch
        z = self.net(x)
        loss = self.loss(z, y)
        self.log(f"{stage}_loss", loss, prog_bar=True)
        if self.cfg.regression:
            self.log(f"{stage}_r2", 1 - loss / y.var())
        else:
            self.log(f"{stage}_acc", (z.argmax(1) == y).float().mean())
        return loss

    def training_step(self, batch, _):  # type: ignore[no-untyped-def]
        return self.step(batch, "train")

    def validation_step(self, batch, _):  # type: ignore[no-untyped-def]
        self.step(batch, "val")

    def test_step(self, batch, _):  # type: ignore[no-untyped-def]
        self.step(batch, "test")

    def configure_optimizers(self):  # type: ignore[no-untyped-def]
        optimizer = instantiate(self.cfg.optimizer)(self.parameters())
        if self.cfg.schedule == "one_cycle":
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.cfg.optimizer.lr, total_steps=self.steps)
            return [optimizer], [{"scheduler": schedule, "interval": "step"}]
        if self.cfg.schedule == "plateau":
            schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": self.cfg.monitor}}
        return optimizer


@hydra.main(version_base="1.3", config_path=".", config_name="config")
def main(cfg: DictConfig) -> None:
    pl.seed_everything(cfg.seed)
    x, y = arrays(cfg)
    parts = random_split(TensorDataset(x, y), [0.7, 0.1, 0.2], torch.Generator().manual_seed(0))
    train, val, test = [
        DataLoader(
            Pictures(part) if cfg.augment and not k else part,
            cfg.batch_size,
            shuffle=not k,
            num_workers=cfg.workers,
            persistent_workers=cfg.workers > 0,
        )
        for k, part in enumerate(parts)
    ]
    outputs = 1 if cfg.regression else int(y.max()) + 1
    model = Net(cfg, x[0].numel(), outputs, cfg.epochs * -(-len(train) // cfg.accumulate))
    folder = Path(cfg.run_dir)
    callbacks: list[pl.Callback] = [ModelCheckpoint(folder, monitor=cfg.monitor, save_last=True)]
    callbacks += [instantiate(each) for each in cfg.callbacks.values()]
    if cfg.stop_early is not None:
        callbacks.append(EarlyStopping(cfg.monitor, patience=cfg.stop_early))
    trainer = pl.Trainer(
        max_epochs=cfg.epochs,
        accelerator=cfg.accelerator,
        accumulate_grad_batches=cfg.accumulate,
        callbacks=callbacks,
        logger=WandbLogger(save_dir=folder) if cfg.wandb else CSVLogger(folder),
        log_every_n_steps=5,
        enable_progress_bar=False,
    )
    trainer.fit(model, train, val, ckpt_path=cfg.resume)
    print(trainer.test(model, test))


if __name__ == "__main__":
    main()
