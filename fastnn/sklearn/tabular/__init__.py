"""Networks for mixed tables: numbers, Booleans, categories and missing values, straight in."""

from fastnn.sklearn.tabular.classifier import TabularMLPClassifier
from fastnn.sklearn.tabular.encoder import TabularEncoder
from fastnn.sklearn.tabular.regressor import TabularMLPRegressor

__all__ = ["TabularEncoder", "TabularMLPClassifier", "TabularMLPRegressor"]
