from .catalogue import known_models as known_models
from .catalogue import model_entry as model_entry
from .catalogue import open_embedder as open_embedder
from .embedder import Embedder as Embedder
from .embedder import GridEmbedder as GridEmbedder
from .onnx_embedder import OnnxEmbedder as OnnxEmbedder
from .onnx_session import list_grids as list_grids
from .preprocessing import ARCFACE as ARCFACE
from .preprocessing import IMAGENET as IMAGENET
from .preprocessing import RAW as RAW
from .preprocessing import Preprocessing as Preprocessing
from .torch_embedder import TorchEmbedder as TorchEmbedder

__all__ = [
    "ARCFACE",
    "IMAGENET",
    "RAW",
    "Embedder",
    "GridEmbedder",
    "OnnxEmbedder",
    "Preprocessing",
    "TorchEmbedder",
    "known_models",
    "list_grids",
    "model_entry",
    "open_embedder",
]
