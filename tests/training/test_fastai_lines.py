"""Lines of chapters 4 to 6 of the fastai book: each has fastai's meaning here, or names the way."""

import os
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib import pyplot
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import TensorDataset

import mnist_sgd
from mnist_sgd.data import sample_digits
from mnist_sgd.training.coming_from_fastai import NAMES
from mnist_sgd.training.recorder import Recorder

matplotlib.use("agg")

START = """
from mnist_sgd import *

dls = DataLoaders(DataLoader(train, batch_size=256), DataLoader(valid, batch_size=256))
model = nn.Linear(28 * 28, 1)
learn = Learner(dls, model, opt_func=SGD, loss_func=mnist_loss, metrics=accuracy)
learn.logger, learn.bar = lambda line: None, False
dl, valid_dl = DataLoader(dset, batch_size=256), DataLoader(valid_dset, batch_size=256)
weights, bias, lr = init_params((28 * 28, 1)), init_params(1), 1.0
params = weights, bias
"""
"""What a reader has typed before the line."""


@cache
def data() -> dict[str, Any]:
    """The sets, and the tensors and lists that the book makes of them."""
    found: dict[str, Any] = {}
    for name, images in zip(("train", "valid"), mnist_sgd.mnist_sample(), strict=True):
        x = torch.tensor(images.images).view(-1, 28 * 28).float() / 255
        y = torch.tensor(images.labels).long().unsqueeze(1)
        found |= {name: images, f"{name}_x": x, f"{name}_y": y}
    found["dset"] = list(zip(found["train_x"], found["train_y"], strict=True))
    found["valid_dset"] = list(zip(found["valid_x"], found["valid_y"], strict=True))
    return found


def titles() -> list[str]:
    """The titles in the newest figure."""
    return [axes.get_title() for axes in pyplot.gcf().axes]


def rate_after(learn: Any) -> float:
    """The weight decay that the optimizer has."""
    return float(learn.opt.param_groups[0]["wd"])


@pytest.fixture
def names(here: Path) -> Iterator[dict[str, Any]]:
    """The names that a reader has, in an empty folder."""
    torch.manual_seed(3)
    found: dict[str, Any] = {
        **data(),
        "nn": nn,
        "F": functional,
        "np": np,
        "torch": torch,
        "os": os,
        "partial": partial,
        "Path": Path,
        "Image": Image,
        "TensorDataset": TensorDataset,
        "plt": pyplot,
        "titles": titles,
        "three": str(sample_digits()[0]),
        "rate_after": rate_after,
    }
    exec(START, found)
    yield found
    pyplot.close("all")


WORKS = [
    # Chapter 4: the data, the loaders and the steps by hand.
    ("x, y = dset[0]", "x.shape == (784,) and y.tolist() == [1]"),
    ("image, label = train[0]", "image.shape == (28, 28) and label == 1"),
    ("xb, yb = first(dl)", "xb.shape == (256, 784) and yb.shape == (256, 1)"),
    ("dl = DataLoader(dset, bs=64)", "len(dl) == 194 and dl.batch_size == 64"),
    (
        "dl = DataLoader(TensorDataset(train_x, train_y), batch_size=256)",
        "torch.equal(first(dl)[0], train_x[:256])",
    ),
    (
        "dl = DataLoader(list(zip(train_x, train_y)), batch_size=256)",
        "torch.equal(first(dl)[1], train_y[:256]) and len(dl) == 49",
    ),
    ("preds = linear1(train_x, *params)", "preds.shape == (12396, 1)"),
    ("loss = mnist_loss(model(train_x), train_y)", "0 < loss < 1"),
    ("p = batch_accuracy(model(valid_x), valid_y)", "0 <= p <= 1"),
    ("opt = BasicOptim(model.parameters(), lr)", "opt.step() is None"),
    ("opt = SGD(model.parameters(), lr)", "opt.param_groups[0]['lr'] == 1.0"),
    # Chapter 4: the Learner.
    ("dls = DataLoaders(dl, valid_dl)", "dls[0] is dl and dls.valid is valid_dl"),
    (
        "learn = Learner(DataLoaders(dl, valid_dl), nn.Linear(28*28, 1), opt_func=SGD, "
        "loss_func=mnist_loss, metrics=batch_accuracy)",
        "learn.validate()[1] > 0",
    ),
    ("learn.fit(2, lr=lr)", "len(learn.recorder.values) == 2"),
    (
        "learn.model = nn.Sequential(nn.Linear(28*28, 30), nn.ReLU(), nn.Linear(30, 1)); "
        "learn.fit(1, 0.1)",
        "[w.shape for w in learn.model.parameters()][0] == (30, 784)",
    ),
    ("learn.fit(1, 1.0); last = learn.recorder.values[-1][2]", "last == learn.validate()[1]"),
    ("learn.fit(6, 0.1); learn.recorder.plot_loss()", "titles() == ['learning curve']"),
    # What the sentences below advise.
    (
        "dls = DataLoaders(DataLoader(train, 256), DataLoader(valid, 256))\n"
        "learn = Learner(dls, cnn(), opt_func=adamw, loss_func=cross_entropy, metrics=accuracy)",
        "0 <= learn.validate([first(dls.valid)])[1] <= 1",
    ),
    (
        "ranks = DistributedContext(device=torch.device('cpu'))\n"
        "learn = Learner(dls, model, ranks=ranks)",
        "learn.ranks.world_size == 1",
    ),
    ("result = evaluate(*(each.flatten() for each in learn.get_preds()))", "0 <= result.auc <= 1"),
    # Chapter 5: the data.
    ("xb, yb = dls.one_batch()", "torch.equal(xb, train_x[:256]) and len(yb) == 256"),
    ("xb, yb = dls.train.one_batch()", "torch.equal(first(dls.train)[0], xb)"),
    ("names = dls.vocab", "names == ['7', '3'] and dls.train.vocab == names"),
    ("names = learn.dls.vocab", "names[train[0][1]] == '3'"),
    ("dls.show_batch()", "titles() == ['3'] * 9"),
    ("dls.show_batch(max_n=4)", "titles() == ['3'] * 4"),
    ("dls.show_batch(nrows=1, ncols=3)", "titles() == ['3'] * 3"),
    ("dls.show_batch(max_n=3, figsize=(7, 5))", "plt.gcf().get_size_inches().tolist() == [7, 5]"),
    ("DataLoaders(dl, valid_dl).show_batch(max_n=2)", "titles()[:2] == ['1', '1']"),
    # Chapter 5: losses, metrics and predictions.
    ("preds, targs = learn.get_preds()", "preds.shape == targs.shape == (2038, 1)"),
    ("preds, _ = learn.get_preds(dl=[first(dls.valid)])", "0 <= preds.min() <= preds.max() <= 1"),
    (
        "loss, a = learn.validate()",
        "abs(a - accuracy(learn.model(valid_x), valid_y).item()) < 1e-6",
    ),
    ("a = accuracy(torch.tensor([[2.], [-1.]]), torch.tensor([[1], [1]]))", "a == 0.5"),
    ("e = error_rate(torch.tensor([[2.], [-1.]]), torch.tensor([[1], [0]]))", "e == 0"),
    ("learn.metrics = [accuracy, error_rate]", "abs(sum(learn.validate()[1:]) - 1) < 1e-6"),
    ("learn.metrics = error_rate", "len(learn.validate()) == 2"),
    # Chapter 5: interpretation.
    (
        "interp = ClassificationInterpretation.from_learner(learn)",
        "interp.losses.mean().isclose(torch.tensor(learn.validate()[0])).item()",
    ),
    (
        "interp = ClassificationInterpretation.from_learner(learn, ds_idx=0)",
        "interp.confusion_matrix().sum(axis=1).tolist() == [6265, 6131]",
    ),
    (
        "interp = ClassificationInterpretation.from_learner(learn, dl=dls.train)",
        "len(interp.losses) == 12396",
    ),
    (
        "interp = ClassificationInterpretation.from_learner(learn)\n"
        "interp.plot_confusion_matrix(figsize=(12, 12), dpi=60)",
        "titles() == ['Confusion matrix'] and sum(int(t.get_text().replace(',', ''))"
        " for t in plt.gca().texts) == 2038",
    ),
    (
        "ClassificationInterpretation.from_learner(learn).plot_confusion_matrix(normalize=True)",
        "all(0 <= float(t.get_text()) <= 1 for t in plt.gca().texts)",
    ),
    (
        "interp = ClassificationInterpretation.from_learner(learn)\nc = interp.most_confused()",
        "sum(n for *_, n in c) == 2038 - np.trace(interp.confusion_matrix())"
        " and c[0][2] >= c[-1][2]",
    ),
    (
        "c = ClassificationInterpretation.from_learner(learn).most_confused(min_val=3000)",
        "c == []",
    ),
    (
        "interp = ClassificationInterpretation.from_learner(learn)\n"
        "losses, i = interp.top_losses(5)",
        "losses[0] == interp.losses.max() == interp.losses[i[0]] and len(i) == 5",
    ),
    (
        "ClassificationInterpretation.from_learner(learn).plot_top_losses(4, nrows=1)",
        "len(titles()) == 4 and all(t[:3] in ('7/3', '3/7') for t in titles())",
    ),
    (
        "learn.show_results()",
        "len(titles()) == 9 and titles()[0][0] == '3' and titles()[-1][0] == '7'",
    ),
    ("learn.show_results(ds_idx=0, nrows=3, figsize=(6, 8))", "len(titles()) == 9"),
    ("learn.show_results(max_n=2)", "len(titles()) == 2"),
    ("learn.show_results(dl=valid_dl, max_n=1)", "titles()[0][0] == '1'"),
    # Chapter 5: learning rates and optimizers.
    ("lr = learn.lr_find().valley", "1e-7 < lr < 10"),
    ("learn.lr_find().plot()", "titles() == ['learning rate finder']"),
    ("learn.fit_one_cycle(2, 0.1)", "0.0999 < max(learn.recorder.lrs) <= 0.1"),
    ("learn.fit_one_cycle(1, lr_max=1e-2); learn.recorder.plot_sched()", "len(titles()) == 1"),
    (
        "learn.opt_func = partial(SGD, mom=0.9); learn.fit_one_cycle(1, 1e-2)\n"
        "learn.recorder.plot_sched()",
        "[a.get_ylabel() for a in plt.gcf().axes] == ['learning rate', 'momentum']",
    ),
    (
        "learn = Learner(dls, model, wd=0.1); learn.no_bar(); learn.fit(1)",
        "rate_after(learn) == 0.1",
    ),
    ("learn.fit(1, wd=0.01)", "rate_after(learn) == 0.01"),
    ("learn.fit_one_cycle(1, 0.1, wd=0.01); learn.fit(1)", "rate_after(learn) == 0.01"),
    (
        "learn.opt_func = adamw; learn.fit(0, wd=0.3)",
        "[g['weight_decay'] for g in learn.opt.param_groups] == [0.3, 0.0]",
    ),
    # Chapter 6, and what a reader knows of callbacks.
    (
        "learn.fit(2, 0.1, cbs=SaveModelCallback())",
        "learn.load('model.safetensors') is learn",
    ),
    (
        "learn.fit(2, 0.1, cbs=SaveModelCallback('accuracy', comp=np.greater, fname='best'))",
        "os.path.exists('best.safetensors')",
    ),
    (
        "learn.fit(9, 0.0, cbs=EarlyStoppingCallback(min_delta=0.1, patience=2))",
        "len(learn.recorder.values) == 3",
    ),
    (
        "learn.fit(9, 1e-9, cbs=EarlyStoppingCallback('valid_loss', np.greater, 0.1, 1))",
        "len(learn.recorder.values) == 2",
    ),
    ("text = learn.summary()", "'785' in text and repr(text).endswith('callbacks: none')"),
    # Chapters 1 and 2: files and single predictions.
    ("name, label, p = learn.predict(three)", "name == dls.vocab[label] and 0 < p < 1"),
    ("answer = learn.predict(Path(three))", "answer == learn.predict(Image.open(three))"),
    ("answer = learn.predict(train[0][0])", "answer[0] in ('3', '7')"),
    ("learn.export()", "os.path.getsize('model.onnx') > 3000"),
    (
        "learn.export('digits.onnx'); learn_inf = load_learner('digits.onnx')",
        "learn_inf.predict(three).label == learn.predict(three)[0]",
    ),
    (
        "learn.export(); pred, idx, prob = load_learner('model.onnx').predict(three)",
        "(pred, idx) == learn.predict(three)[:2] and abs(prob - learn.predict(three)[2]) < 1e-6",
    ),
    ("learn.save('weights.safetensors'); learn.load('weights.safetensors')", "True"),
]


@pytest.mark.parametrize(("line", "meaning"), WORKS, ids=[line for line, _ in WORKS])
def test_a_line_that_works_has_fastais_meaning(
    line: str, meaning: str, names: dict[str, Any]
) -> None:
    exec(line, names)
    assert eval(meaning, names), meaning


DATA = (
    "load_data(folder) loads class folders of pictures, mnist_sample() the sets of MNIST_SAMPLE, "
    "and DataLoaders(DataLoader(train, 256), DataLoader(valid, 256)) makes their batches"
)
OPEN = "load_data(folder) finds the pictures, their classes and the validation set by itself"
MODEL = (
    "Learner(dls, cnn(), opt_func=adamw, loss_func=cross_entropy, metrics=accuracy) trains a "
    "network from scratch, and none is pretrained"
)
WHOLE_SET = (
    "a metric here is a mean over batches; evaluate(probabilities, labels) has precision, recall, "
    "F1 and AUC of a whole set, whose probabilities learn.get_preds() returns"
)
LEARNER, LOADERS = "this Learner has no attribute", "this DataLoaders has no attribute"
PACKAGE = "module 'mnist_sgd' has no attribute"
ENOUGH = "there are two classes, and accuracy is enough"
FROZEN = "set requires_grad_(False) on the layers that shall not be trained"

REFUSED = [
    # fastai's data.
    ("path = untar_data(URLs.MNIST_SAMPLE)", f"URLs is fastai's and not here: {DATA}"),
    ("path = untar_data('mnist')", f"untar_data is fastai's and not here: {DATA}"),
    (
        "dls = ImageDataLoaders.from_folder('mnist')",
        f"ImageDataLoaders is fastai's and not here: {DATA}",
    ),
    ("DataLoaders.from_folder('mnist')", f"DataLoaders has no attribute 'from_folder': {DATA}"),
    (
        "dls = DataLoaders.from_dsets(train, valid)",
        f"DataLoaders has no attribute 'from_dsets': {DATA}",
    ),
    (
        "pets = DataBlock(blocks=(ImageBlock, CategoryBlock), get_items=get_image_files)",
        f"DataBlock is fastai's and not here: {DATA}",
    ),
    ("files = get_image_files('mnist')", f"get_image_files is fastai's and not here: {OPEN}"),
    ("split = RandomSplitter(seed=42)", f"RandomSplitter is fastai's and not here: {OPEN}"),
    (
        "tfms = aug_transforms(size=224)",
        "aug_transforms is fastai's and not here: load_data preprocesses pictures, and "
        "DataLoader(augment=Augmentation(...)) augments them",
    ),
    (
        "show_image(train[0][0])",
        "show_image is fastai's and not here: dls.show_batch() draws a batch, and "
        "pyplot.imshow(image, cmap='gray') one image",
    ),
    ("dls.train_ds", f"{LOADERS} 'train_ds': use dls.train.dataset"),
    (
        "dls.cuda()",
        f"{LOADERS} 'cuda': Learner(ranks=DistributedContext(device=torch.device('cuda'))) trains "
        "on a GPU",
    ),
    ("dls.c", f"{LOADERS} 'c': len(dls.vocab) is the number of classes"),
    (
        "DataLoaders(dl, valid_dl).vocab",
        "class names come from a mnist_sgd.DataLoader of an ImageSet; these batches come from "
        "a DataLoader of a list",
    ),
    (
        "torchs = torch.utils.data.DataLoader(train)\n"
        "ClassificationInterpretation.from_learner(learn, dl=torchs)",
        "an interpretation needs a mnist_sgd.DataLoader, whose images have an order, got "
        "torch.utils.data.dataloader.DataLoader",
    ),
    (
        "DataLoaders([(torch.ones(2, 3), train_y[:2])], valid_dl).show_batch()",
        "images are shown of batches [B, 784] or [B, 1, H, W], got [2, 3]",
    ),
    # fastai's models and methods.
    ("learn = vision_learner(dls, None)", f"vision_learner is fastai's and not here: {MODEL}"),
    (
        "learn = cnn_learner(dls, None, metrics=accuracy)",
        f"cnn_learner is fastai's and not here: {MODEL}",
    ),
    (
        "learn.fine_tune(1)",
        f"{LEARNER} 'fine_tune': use fit_one_cycle, after requires_grad_(False) on the layers to "
        "keep",
    ),
    ("learn.freeze()", f"{LEARNER} 'freeze': {FROZEN}"),
    (
        "learn.unfreeze()",
        f"{LEARNER} 'unfreeze': set requires_grad_(True) on the layers that shall be trained",
    ),
    (
        "learn.to_fp16()",
        f"{LEARNER} 'to_fp16': give the callback MixedPrecision, which trains in bfloat16",
    ),
    (
        "learn.recorder.plot_lr_find()",
        "this Recorder has no attribute 'plot_lr_find': learn.lr_find() returns the plot: "
        "learn.lr_find().plot()",
    ),
    (
        "Learner(dls, model, metrics=accuracy_multi)",
        f"accuracy_multi is fastai's and not here: {ENOUGH}",
    ),
    (
        "Learner(dls, model, metrics=RocAucBinary())",
        f"RocAucBinary is fastai's and not here: {WHOLE_SET}",
    ),
    (
        "ImageClassifierCleaner(learn)",
        "ImageClassifierCleaner is fastai's and not here: mnist-sgd evaluate --mistakes lists "
        "pictures in a wrong folder",
    ),
    ("import mnist_sgd; mnist_sgd.F1Score()", f"{PACKAGE} 'F1Score': {WHOLE_SET}"),
    ("import mnist_sgd; mnist_sgd.resnet18", f"{PACKAGE} 'resnet18': {MODEL}"),
    (
        "import mnist_sgd; mnist_sgd.CrossEntropyLossFlat()",
        f"{PACKAGE} 'CrossEntropyLossFlat': cross_entropy takes logits and targets [B, 1]",
    ),
    (
        "load_learner('export.pkl')",
        "load_learner loads a .onnx file that learn.export() wrote, got export.pkl: learn.load() "
        "loads weights that learn.save() wrote",
    ),
    (
        "learn.export('export.pkl')",
        "export.pkl: the name must end in one of .onnx, .pt, .pt2",
    ),
    (
        "SaveModelCallback(every_epoch=True)",
        "every_epoch must be False: the callback Checkpoint saves every epoch",
    ),
    (
        "SaveModelCallback(with_opt=True)",
        "with_opt must be False: the callback Checkpoint keeps the optimizer's state",
    ),
    (
        "EarlyStoppingCallback(reset_on_fit=False)",
        "reset_on_fit must be True: the rows of one fit are compared",
    ),
    ("EarlyStopping('valid_loss')", "patience must be an integer, got 'valid_loss'"),
    # Wrong types and shapes.
    (
        "Learner(dls, model, opt_func='adam')",
        "opt_func must be a function, such as SGD or adamw, got 'adam'",
    ),
    ("Learner(dls, model, lr='x')", "lr must be a number, got 'x'"),
    ("learn.fit(1, lr='x')", "lr must be a number, got 'x'"),
    (
        "learn.fit_one_cycle(2, lr_max=slice(1e-6, 1e-4))",
        "lr_max must be a number; for different rates in different layers let opt_func make "
        "several parameter groups, whose ratios are kept",
    ),
    (
        "Learner(dls, model, metrics='accuracy')",
        "metrics must be functions of (predictions, targets), got 'accuracy'",
    ),
    (
        "Learner(dls, model, loss_func=nn.CrossEntropyLoss()).fit(1)",
        "CrossEntropyLoss takes one output per class, and for two classes the model has a single "
        "one, [B, 1]: give loss_func=mnist_sgd.cross_entropy",
    ),
    (
        "Learner(DataLoaders(dl, valid_dl), model, loss_func=F.cross_entropy).fit(1)",
        "cross_entropy takes one output per class, and for two classes the model has a single "
        "one, [B, 1]: give loss_func=mnist_sgd.cross_entropy",
    ),
    (
        "Learner(dls, nn.Linear(784, 10)).fit(1)",
        "mnist_loss takes predictions and targets of one shape, [B, 1]; got predictions [2, 10] "
        "and targets [2, 1]; the model must have one output",
    ),
    (
        "Learner(DataLoaders(dl, valid_dl), nn.Linear(784, 10)).lr_find()",
        "mnist_loss takes predictions and targets of one shape, [B, 1]; got predictions [2, 10] "
        "and targets [2, 1]; the model must have one output",
    ),
    (
        "Learner(dls, model, metrics=accuracy, loss_func=nn.BCEWithLogitsLoss()).fit(1)",
        "BCEWithLogitsLoss needs floating-point targets, the batches have int64; use "
        "mnist_sgd.cross_entropy, which takes them as they are, or convert them in a callback's "
        "before_batch",
    ),
    (
        "learn.opt_func = BasicOptim; learn.fit(1, wd=0.1)",
        "BasicOptim has no weight decay, so wd cannot be set: take SGD or adamw",
    ),
    (
        "Learner(dls, nn.Linear)",
        "model must be a torch.nn.Module, got type",
    ),
    (
        "Learner(dls.train, model)",
        "dls must be DataLoaders(train, valid), which hold the batches of both; got DataLoader",
    ),
    (
        "DataLoaders(train, valid)",
        "train must be batches, got the data set itself (ImageSet); make batches with "
        "DataLoader(dataset, batch_size=256)",
    ),
    (
        "DataLoader((train_x, train_y), batch_size=256)",
        "each item of a data set must be a pair (x, y), got Tensor; use list(zip(x, y)) for two "
        "arrays",
    ),
    (
        "DataLoader(zip(train_x, train_y), batch_size=256)",
        "a data set must be an ImageSet, a TensorDataset, or anything with a length and an index "
        "that returns (x, y) pairs, got zip; use list() to make a data set of it",
    ),
    (
        "DataLoader(TensorDataset(train_x), batch_size=256)",
        "a TensorDataset must have two tensors, x and y, got 1",
    ),
    (
        "DataLoader(train, batch_size=32, bs=16)",
        "give batch_size or fastai's name for it, bs, not both",
    ),
    ("DataLoader(train, num_workers=2)", "DataLoader has no option 'num_workers'; use num_threads"),
    (
        "train[:5]",
        "an ImageSet is indexed by an integer, got slice: index its images and its labels",
    ),
    (
        "load_data('.', clases=('a', 'b'))",
        "load_data has no argument 'clases'; did you mean classes?",
    ),
    (
        "load_data('.', valid_pct=0.2)",
        "load_data has no argument 'valid_pct'; there are classes, positive, preprocessing, cache, "
        "workers, on_unusable, on_progress, on_wait",
    ),
    ("load_data(train)", "the folder must be a path, got ImageSet"),
    ("learn.predict(5)", "expected bytes, a path or a Pillow image, got int"),
]


@pytest.mark.parametrize(("line", "sentence"), REFUSED, ids=[line for line, _ in REFUSED])
def test_a_line_that_does_not_names_the_way_in_a_sentence_before_anything_is_printed(
    line: str, sentence: str, names: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises((AttributeError, NameError, TypeError, ValueError)) as caught:
        exec(line, names)
    assert str(caught.value) == sentence
    assert capsys.readouterr().out == ""


def test_sixty_lines_and_more_are_kept() -> None:
    assert len({line for line, _ in [*WORKS, *REFUSED]}) >= 60


def test_what_is_said_of_a_name_is_one_sentence_and_names_what_exists() -> None:
    for name, sentence in NAMES.items():
        assert name not in mnist_sgd._HOME
        assert "\n" not in sentence
        assert not sentence.endswith(".")
    assert set(mnist_sgd._STAND_INS) <= set(NAMES)


def test_the_star_brings_stand_ins_only_for_names_that_are_fastais_alone() -> None:
    common = {"resnet18", "Resize", "Normalize", "Adam", "F1Score", "L", "tensor", "minimum"}
    assert not common & set(mnist_sgd.__all__)
    assert mnist_sgd.untar_data.__doc__.startswith("untar_data is fastai's and not here: ")
    assert repr(mnist_sgd.untar_data).startswith("<untar_data is fastai's and not here: ")


def test_a_fit_with_another_comparison_is_not_resumed(names: dict[str, Any]) -> None:
    learn = names["learn"]
    learn.fit(1, 0.1, cbs=[mnist_sgd.SaveModelCallback(), mnist_sgd.Checkpoint("fit.safetensors")])
    other = mnist_sgd.SaveModelCallback(comp=np.greater)
    with pytest.raises(mnist_sgd.CheckpointError, match="other SaveModelCallback"):
        learn.fit(
            2,
            0.1,
            cbs=[other, mnist_sgd.Checkpoint("fit.safetensors")],
            resume="fit.safetensors",
        )


def test_looking_at_a_batch_moves_no_order(names: dict[str, Any]) -> None:
    loader = mnist_sgd.DataLoader(names["train"], 64, shuffle=True)
    dls = mnist_sgd.DataLoaders(loader, names["valid_dl"])
    seen = dls.one_batch()[0].clone()
    dls.show_batch(max_n=1)
    assert torch.equal(mnist_sgd.first(loader)[0], seen)


def test_images_are_drawn_as_they_were_before_the_normalisation(names: dict[str, Any]) -> None:
    torchs = torch.utils.data.DataLoader(names["train"], 4)
    for batches in (torchs, [(names["train_x"][:4], names["train_y"][:4])]):
        mnist_sgd.DataLoaders(batches, batches).show_batch(max_n=1)
        shown = np.asarray(pyplot.gcf().axes[0].images[0].get_array(), np.float64)
        image = names["train"].images[0]
        assert np.allclose(shown / shown.max(), image / image.max())
        assert titles() == (["3"] if batches is torchs else ["1"])
    for options in ({"mean": 0.3, "std": 0.5}, {"flatten": False}, {"dtype": torch.uint8}):
        loader = mnist_sgd.DataLoader(names["train"], 64, **options)
        mnist_sgd.DataLoaders(loader, loader).show_batch(max_n=1)
        drawn = pyplot.gcf().axes[0].images[0].get_array()
        assert np.array_equal(np.asarray(drawn), names["train"].images[0])


def test_a_metric_of_ours_has_fastais_value(names: dict[str, Any]) -> None:
    """Of two outputs, 0 for the negative class and the logit for the positive one."""
    fastai = pytest.importorskip("fastai.metrics")
    logits, targets = torch.randn(200, 1), torch.randint(0, 2, (200, 1))
    two = torch.cat([torch.zeros_like(logits), logits], dim=1)
    for ours, theirs in (
        (mnist_sgd.accuracy, fastai.accuracy),
        (mnist_sgd.error_rate, fastai.error_rate),
    ):
        assert ours(logits, targets) == theirs(two, targets)


def test_a_recorder_without_momentum_draws_the_rate_alone() -> None:
    recorder = Recorder([])
    recorder.add_batch(torch.tensor(1.0), lr=0.5)
    recorder.plot_sched()
    assert [axes.get_ylabel() for axes in pyplot.gcf().axes] == ["learning rate"]
    pyplot.close("all")
