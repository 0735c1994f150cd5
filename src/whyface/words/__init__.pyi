from .report_writing import describe_words as describe_words
from .report_writing import words_document as words_document
from .special_attribute import special_attributes as special_attributes
from .word_explainer import classes_of_pictures as classes_of_pictures
from .word_explainer import open_words as open_words
from .word_report import WordReport as WordReport
from .word_report import WordSettings as WordSettings

__all__ = [
    "WordReport",
    "WordSettings",
    "classes_of_pictures",
    "describe_words",
    "open_words",
    "special_attributes",
    "words_document",
]
