"""What to use instead of fastai's names that this package lacks, one sentence each."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Never

if TYPE_CHECKING:
    from mnist_sgd_serve import Predictor

_DATA = (
    "load_data(folder) loads class folders of pictures, mnist_sample() the sets of MNIST_SAMPLE, "
    "and DataLoaders(DataLoader(train, 256), DataLoader(valid, 256)) makes their batches"
)
_OPEN = "load_data(folder) finds the pictures, their classes and the validation set by itself"
_CHANGE = "load_data preprocesses pictures, and DataLoader(augment=Augmentation(...)) augments them"
_MODEL = (
    "Learner(dls, cnn(), opt_func=adamw, loss_func=cross_entropy, metrics=accuracy) trains a "
    "network from scratch, and none is pretrained"
)
_WHOLE_SET = (
    "a metric here is a mean over batches; evaluate(probabilities, labels) has precision, recall, "
    "F1 and AUC of a whole set, whose probabilities learn.get_preds() returns"
)
_LOSS = "cross_entropy takes logits and targets [B, 1]"
_DEVICE = "Learner(ranks=DistributedContext(device=torch.device('cuda'))) trains on a GPU"
_OPTIMIZER = "adamw is torch's AdamW, and any optimizer of torch works as opt_func"
_RATES = "learn.lr_find() returns one suggestion, its valley, and its plot() draws the losses"
_SHOW = "dls.show_batch() draws a batch, and pyplot.imshow(image, cmap='gray') one image"

NAMES: Mapping[str, str] = {
    **dict.fromkeys(("untar_data", "URLs", "ImageDataLoaders", "DataBlock"), _DATA),
    **dict.fromkeys(
        (
            *("ImageBlock", "CategoryBlock", "MultiCategoryBlock", "get_image_files"),
            *("parent_label", "RandomSplitter", "GrandparentSplitter", "RegexLabeller"),
            *("using_attr", "ColReader", "Datasets"),
        ),
        _OPEN,
    ),
    **dict.fromkeys(
        ("aug_transforms", "Resize", "RandomResizedCrop", "Normalize", "imagenet_stats"), _CHANGE
    ),
    **dict.fromkeys(
        ("vision_learner", "cnn_learner", "resnet18", "resnet34", "resnet50", "xresnet18"), _MODEL
    ),
    **dict.fromkeys(
        ("F1Score", "Precision", "Recall", "RocAuc", "RocAucBinary", "BalancedAccuracy"), _WHOLE_SET
    ),
    **dict.fromkeys(
        ("accuracy_multi", "accuracy_thresh_expand"),
        "there are two classes, and accuracy is enough",
    ),
    **dict.fromkeys(
        ("CrossEntropyLossFlat", "BCEWithLogitsLossFlat", "LabelSmoothingCrossEntropy"), _LOSS
    ),
    **dict.fromkeys(("Adam", "RMSProp", "Lamb", "ranger", "OptimWrapper"), _OPTIMIZER),
    **dict.fromkeys(("minimum", "steep", "slide", "valley"), _RATES),
    **dict.fromkeys(("show_image", "show_images"), _SHOW),
    "ImageClassifierCleaner": "mnist-sgd evaluate --mistakes lists pictures in a wrong folder",
    "Interpretation": "ClassificationInterpretation.from_learner(learn) is for two classes",
    "L": "lists do: [row[2] for row in learn.recorder.values]",
    "MixUp": "DataLoader(augment=Augmentation(...)) augments images",
    "PILImage": "learn.predict takes a path, the bytes of a file, or a Pillow image",
    "PILImageBW": "learn.predict takes a path, the bytes of a file, or a Pillow image",
    "ProgressCallback": "learn.bar says whether there is a progress bar",
    "TerminateOnNaNCallback": "raise CancelFit in a Callback's after_loss",
    "set_seed": "torch.manual_seed sets the weights, DataLoader(seed=) the order of the images",
    "tensor": "use torch.tensor",
}
"""Names that `from fastai.vision.all import *` gives."""

LEARNER: Mapping[str, str] = {
    "add_cb": "append the callback to learn.cbs",
    "add_cbs": "extend learn.cbs",
    "added_cbs": "give cbs= to fit, validate or get_preds",
    "create_mbar": "learn.bar says whether there is a progress bar",
    "create_opt": "the first fit makes the optimizer, as does fit(reset_opt=True)",
    "cuda": _DEVICE,
    "final_record": "the last row is learn.recorder.values[-1]; validate() returns its figures",
    "fine_tune": "use fit_one_cycle, after requires_grad_(False) on the layers to keep",
    "fit_flat_cos": "give fit a schedule=",
    "fit_sgdr": "give fit a schedule=",
    "freeze": "set requires_grad_(False) on the layers that shall not be trained",
    "freeze_to": "set requires_grad_(False) on the layers that shall not be trained",
    "interpret": "use ClassificationInterpretation.from_learner(learn)",
    "iter": "learn.batch - 1 is the index of the training batch in its epoch",
    "loss_not_reduced": "use ClassificationInterpretation.from_learner(learn).losses",
    "model_dir": "save, load and export take whole paths",
    "n_iter": "len(learn.dl) is the number of batches",
    "no_mbar": "use learn.no_bar()",
    "path": "save, load and export take whole paths",
    "remove_cb": "remove the callback from learn.cbs",
    "remove_cbs": "remove the callbacks from learn.cbs",
    "removed_cbs": "remove the callbacks from learn.cbs meanwhile",
    "show_training_loop": "mnist_sgd.training.callbacks.base has the events in their order",
    "smooth_loss": "call learn.recorder.read_losses(), then read learn.recorder.losses[-1]",
    "to_fp16": "give the callback MixedPrecision, which trains in bfloat16",
    "to_fp32": "leave out the callback MixedPrecision",
    "train_iter": "len(learn.recorder.lrs) is the number of training batches of the fit so far",
    "tta": "average the predictions of several calls of get_preds yourself",
    "unfreeze": "set requires_grad_(True) on the layers that shall be trained",
}
"""Attributes of its Learner."""

DATALOADERS: Mapping[str, str] = {
    **dict.fromkeys(("from_folder", "from_name_func", "from_path_func", "from_csv"), _DATA),
    **dict.fromkeys(("from_dsets", "from_dblock"), _DATA),
    **dict.fromkeys(("cuda", "device", "to"), _DEVICE),
    "add_tfms": _CHANGE,
    "c": "len(dls.vocab) is the number of classes",
    "loaders": "they are dls.train and dls.valid",
    "new": "make another DataLoader",
    "show_results": "use learn.show_results()",
    "test_dl": "learn.predict takes one picture, and get_preds takes any batches",
    "train_ds": "use dls.train.dataset",
    "valid_ds": "use dls.valid.dataset",
}
"""Attributes of its DataLoaders, of the class or of an instance."""

RECORDER: Mapping[str, str] = {
    "plot_lr_find": "learn.lr_find() returns the plot: learn.lr_find().plot()",
    "plot_losses": "use plot_loss",
    "plot_metrics": "values has one row per epoch, metric_names[1:-1] their columns",
    "smooth_loss": "call read_losses(), then read losses[-1]",
}
"""Attributes of its Recorder."""


def missing(owner: str, name: str, instead: Mapping[str, str] = NAMES) -> AttributeError:
    """Make the error for an attribute that an object lacks.

    Args:
        owner: the object, for the message.
        name: of the attribute.
        instead: what to use instead of attributes that fastai's object has.
    """
    advice = f": {instead[name]}" if name in instead else ""
    return AttributeError(f"{owner} has no attribute {name!r}{advice}")


class StandIn:
    """Stand for a name of fastai's that is not here; every use says what to use instead.

    `from mnist_sgd import *` brings a few of them, because Python itself could only say that such a
    name is not defined.

    Args:
        name: a key of `NAMES`.
    """

    def __init__(self, name: str) -> None:
        self.__doc__ = f"{name} is fastai's and not here: {NAMES[name]}."

    def __repr__(self) -> str:
        return f"<{self.__doc__}>"

    def __call__(self, *args: object, **kwargs: object) -> Never:
        """Raise NameError."""
        raise NameError(self._sentence)

    def __getattr__(self, name: str) -> Never:
        """Raise AttributeError."""
        raise AttributeError(self._sentence)

    @property
    def _sentence(self) -> str:
        return str(self.__doc__).removesuffix(".")


def load_learner(path: str | os.PathLike[str]) -> "Predictor":
    """Load a model file that `Learner.export` wrote, to predict with.

    fastai's function of this name returns a learner; this one returns what predicts without torch.

    Args:
        path: of a file in the format .onnx.

    Raises:
        ArtifactError: the file cannot be used.
        ValueError: the file is of another format.
    """
    name = os.fspath(path)
    if not name.endswith(".onnx"):
        raise ValueError(
            f"load_learner loads a .onnx file that learn.export() wrote, got {name}: "
            "learn.load() loads weights that learn.save() wrote"
        )
    from mnist_sgd_serve import Predictor

    return Predictor(path)
