from .report_writing import describe_words as describe_words
from .report_writing import words_document as words_document
from .share_report import ShareReport as ShareReport
from .share_report import describe_shares as describe_shares
from .share_report import open_word_shares as open_word_shares
from .share_report import shares_document as shares_document
from .special_attribute import special_attributes as special_attributes
from .word_explainer import classes_of_pictures as classes_of_pictures
from .word_explainer import open_words as open_words
from .word_report import WordReport as WordReport
from .word_report import WordSettings as WordSettings

__all__ = [
    "ShareReport",
    "WordReport",
    "WordSettings",
    "classes_of_pictures",
    "describe_shares",
    "describe_words",
    "open_word_shares",
    "open_words",
    "shares_document",
    "special_attributes",
    "words_document",
]
