"""PyTorch's basic MNIST example (github.com/pytorch/examples, mnist/main.py).

Convolutions of 32 and 64 maps, 2 × 2 max pooling, dropout 0.25, a dense layer of 128, dropout 0.5; AdaDelta at 1.0,
times 0.7 each epoch, batches of 64, 14 epochs; pictures from torchvision, transformed one by one. It tests after each
epoch, as published.
python -m scripts.benchmarks.peers.pytorch_basic DATA EPOCHS SEED STOP [ROWS]   (ends at a test accuracy of STOP)
"""

import json
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn, optim
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3)
        self.conv2 = nn.Conv2d(32, 64, 3)
        self.dropout1 = nn.Dropout(0.25)
        self.dropout2 = nn.Dropout(0.5)
        self.fc1 = nn.Linear(9216, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x):
        x = F.relu(self.conv2(F.relu(self.conv1(x))))
        x = self.dropout1(F.max_pool2d(x, 2)).flatten(1)
        return F.log_softmax(self.fc2(self.dropout2(F.relu(self.fc1(x)))), 1)


def main(data: str, epochs: str, seed: str, stop: str = "2", rows: str = "60000") -> None:
    torch.manual_seed(int(seed))
    prepare = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    training, test = (datasets.MNIST(data, train=train, transform=prepare) for train in (True, False))
    loader = DataLoader(Subset(training, range(int(rows))), batch_size=64, shuffle=True)
    test_loader = DataLoader(test, batch_size=1000)
    model = Net()
    optimizer = optim.Adadelta(model.parameters(), lr=1.0)
    scheduler = optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.7)
    told = []
    looked = 0.0
    for _ in range(int(epochs)):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = F.nll_loss(model(x), y)
            loss.backward()
            optimizer.step()
        end = time.time() - looked
        model.eval()
        with torch.no_grad():
            right = sum(int((model(x).argmax(1) == y).sum()) for x, y in test_loader)
        told.append({"time": end, "test/acc": right / len(test)})
        looked = time.time() - end
        if right / len(test) >= float(stop):
            break
        scheduler.step()
    print(json.dumps({"epochs": told, "rows": int(rows), "version": torch.__version__}))


if __name__ == "__main__":
    main(*sys.argv[1:])
