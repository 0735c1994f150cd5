from .errors import WhyfaceError as WhyfaceError
from .explain.explanation import Explanation as Explanation
from .explain.method_table import MethodEntry as MethodEntry
from .explain.methods import open_method as open_method
from .explain.pair_method import PairMaps as PairMaps
from .explain.pair_method import PairMethod as PairMethod
from .explain.registry import METHODS as METHODS
from .explain.registry import register_method as register_method
from .faces.face import Face as Face
from .faces.load import find_faces as find_faces
from .faces.load import load_face as load_face
from .gallery.gallery import Gallery as Gallery
from .models.onnx_embedder import OnnxEmbedder as OnnxEmbedder
from .models.onnx_session import list_grids as list_grids
from .models.torch_embedder import TorchEmbedder as TorchEmbedder
from .train.plug_in import fit_xcos as fit_xcos
from .verification import Verification as Verification
from .verification import Verifier as Verifier
from .verification import verify as verify
from .words.word_explainer import open_words as open_words

__version__: str
__all__ = [
    "METHODS",
    "Explanation",
    "Face",
    "Gallery",
    "MethodEntry",
    "OnnxEmbedder",
    "PairMaps",
    "PairMethod",
    "TorchEmbedder",
    "Verification",
    "Verifier",
    "WhyfaceError",
    "__version__",
    "find_faces",
    "fit_xcos",
    "list_grids",
    "load_face",
    "open_method",
    "open_words",
    "register_method",
    "verify",
]
