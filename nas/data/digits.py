"""scikit-learn's digits."""

from sklearn.model_selection import train_test_split

from nas.data.load import DATASETS, Splits
from search_spaces.errors import InvalidInputError


@DATASETS.register("digits")
def read_digits(path: str | None) -> Splits:
    """Return 8x8 images of ten digits; 360 of them are the test split."""
    from sklearn.datasets import load_digits

    if path is not None:
        raise InvalidInputError(f"the data set 'digits' takes no path, got '{path}'")
    digits = load_digits()
    x, x_test, y, y_test = train_test_split(
        digits.images, digits.target, test_size=360, stratify=digits.target, random_state=0
    )
    return Splits(x=x, y=y, x_test=x_test, y_test=y_test)
