from .detection import Detection as Detection
from .detection import Detector as Detector
from .face import FACE_SIZE as FACE_SIZE
from .face import Face as Face
from .face import stack_faces as stack_faces
from .load import find_faces as find_faces
from .load import load_face as load_face
from .load import open_detector as open_detector

__all__ = [
    "FACE_SIZE",
    "Detection",
    "Detector",
    "Face",
    "find_faces",
    "load_face",
    "open_detector",
    "stack_faces",
]
