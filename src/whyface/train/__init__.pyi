from .config import TrainConfig as TrainConfig
from .config import preset_text as preset_text
from .config import read_config as read_config
from .export import export_trained as export_trained
from .plug_in import PlugIn as PlugIn
from .plug_in import PlugInSettings as PlugInSettings
from .plug_in import fit_xcos as fit_xcos
from .trainer import train as train
from .viewed_maps import freeze_maps as freeze_maps
from .viewed_maps import read_faces as read_faces

__all__ = [
    "PlugIn",
    "PlugInSettings",
    "TrainConfig",
    "export_trained",
    "fit_xcos",
    "freeze_maps",
    "preset_text",
    "read_config",
    "read_faces",
    "train",
]
