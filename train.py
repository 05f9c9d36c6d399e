"""Train a network: python train.py model=cnn optimizer=adam   (python train.py --help)"""

import sys

from dlcourse.cli import guarded, train

if __name__ == "__main__":
    sys.exit(guarded(train))
