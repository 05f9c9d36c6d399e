"""Keras's simple MNIST convnet (F. Chollet, keras.io/examples/vision/mnist_convnet) on TensorFlow.

Two 3 × 3 convolutions of 32 and 64 maps, each with ReLU and 2 × 2 max pooling, dropout 0.5, one dense layer; Adam at
0.001, batches of 128, 15 epochs, a tenth of the training set for validation.
python -m scripts.benchmarks.peers.keras_convnet DATA EPOCHS SEED STOP [ROWS]   (ends at a test accuracy of STOP)
"""

import json
import os
import sys
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras  # noqa: E402  (the two lines above must come first)
import numpy as np  # noqa: E402
from keras import layers  # noqa: E402


class Test(keras.callbacks.Callback):
    """After each epoch: when it ended, and the test accuracy, the time for which is not the recipe's."""

    def __init__(self, x, y, stop):
        super().__init__()
        self.x, self.y, self.stop = x, y, stop
        self.looked, self.epochs = 0.0, []

    def on_epoch_end(self, epoch, logs=None):
        end = time.time() - self.looked
        _, accuracy = self.model.evaluate(self.x, self.y, batch_size=512, verbose=0)
        self.epochs.append({"time": end, "test/acc": accuracy})
        self.looked = time.time() - end
        self.model.stop_training = accuracy >= self.stop


def main(data: str, epochs: str, seed: str, stop: str = "2", rows: str = "60000") -> None:
    keras.utils.set_random_seed(int(seed))
    with np.load(f"{data}/mnist.npz") as file:  # as keras.datasets.mnist does, once it has fetched it
        x, y, x_test, y_test = (file[name] for name in ("x_train", "y_train", "x_test", "y_test"))
    x, x_test = (part[..., None].astype("float32") / 255 for part in (x[: int(rows)], x_test))
    y, y_test = (keras.utils.to_categorical(part, 10) for part in (y[: int(rows)], y_test))
    model = keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Conv2D(64, 3, activation="relu"),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    test = Test(x_test, y_test, float(stop))
    model.fit(x, y, batch_size=128, epochs=int(epochs), validation_split=0.1, verbose=0, callbacks=[test])
    print(json.dumps({"epochs": test.epochs, "rows": round(0.9 * len(x)), "version": keras.version()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
