"""Optical digits (Alpaydin and Kaynak 1998), the 1,797 images of 8 × 8 pixels included in scikit-learn."""

import numpy as np

from datagradient.data.record import Dataset


def load() -> Dataset:
    """Load the images as grey values 0 … 255 in one channel."""
    import sklearn
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = np.round(digits.images[..., None] * (255 / 16)).astype(np.uint8)
    class_names = tuple(str(name) for name in digits.target_names)
    source = {"scikit-learn": sklearn.__version__}
    return Dataset("digits", "Digits", "image", images, digits.target.astype(np.int64), class_names, None, source)
