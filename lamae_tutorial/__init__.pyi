from .complexity import Characterization as Characterization
from .complexity import characterize as characterize
from .complexity import complexity_normalized as complexity_normalized
from .complexity import complexity_normalizer as complexity_normalizer
from .complexity import shannon_entropy as shannon_entropy
from .datasets import ImageSet as ImageSet
from .datasets import constant_images as constant_images
from .datasets import load_images as load_images
from .datasets import noise_images as noise_images
from .detectors import DETECTORS as DETECTORS
from .detectors.autoencoder import AutoEncoder as AutoEncoder
from .detectors.base import Detector as Detector
from .detectors.lamae import LAMAE as LAMAE
from .detectors.memae import MemAE as MemAE
from .memory import LabelAssistedMemory as LabelAssistedMemory
from .memory import MemoryBank as MemoryBank
from .metrics import Summary as Summary
from .metrics import auprc as auprc
from .metrics import auroc as auroc
from .metrics import fpr_at_tpr as fpr_at_tpr
from .metrics import summary as summary
from .scenarios import Scenario as Scenario
from .scenarios import bring_to_shape as bring_to_shape
from .scenarios import cross_dataset as cross_dataset
from .scenarios import leave_one_class_out as leave_one_class_out

__version__: str
