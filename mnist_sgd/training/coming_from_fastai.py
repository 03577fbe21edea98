"""What stands here for the names of fastai's that are not here."""

__all__ = ["INSTEAD"]

INSTEAD = {
    "add_cb": "append the callback to learn.cbs",
    "add_cbs": "extend learn.cbs",
    "added_cbs": "give cbs= to fit, validate or get_preds",
    "create_mbar": "learn.bar says whether there is a progress bar",
    "create_opt": "the first fit makes the optimizer, as does fit(reset_opt=True)",
    "final_record": "the last row is learn.recorder.values[-1]; validate() returns its figures",
    "fine_tune": "use fit_one_cycle; set requires_grad of the layers that shall not be trained",
    "fit_flat_cos": "give fit a schedule=",
    "fit_sgdr": "give fit a schedule=",
    "freeze": "set requires_grad_(False) on the layers that shall not be trained",
    "freeze_to": "set requires_grad_(False) on the layers that shall not be trained",
    "iter": "learn.batch - 1 is the index of the training batch in its epoch",
    "model_dir": "save, load and export take whole paths",
    "n_iter": "len(learn.dl) is the number of batches",
    "no_mbar": "use learn.no_bar()",
    "path": "save, load and export take whole paths",
    "remove_cb": "remove the callback from learn.cbs",
    "remove_cbs": "remove the callbacks from learn.cbs",
    "removed_cbs": "remove the callbacks from learn.cbs meanwhile",
    "show_results": "use write_run, whose report shows the mistakes",
    "show_training_loop": "mnist_sgd.training.callbacks.base has the events in their order",
    "smooth_loss": "call learn.recorder.read_losses(), then read learn.recorder.losses[-1]",
    "summary": "use mnist_sgd.summary(learn.model)",
    "to_fp16": "give the callback MixedPrecision, which trains in bfloat16",
    "to_fp32": "leave out the callback MixedPrecision",
    "train_iter": "len(learn.recorder.lrs) is the number of training batches of the fit so far",
    "tta": "average the predictions of several calls of get_preds yourself",
    "unfreeze": "set requires_grad_(True) on the layers that shall be trained",
    "wd": "weight decay is the optimizer's: opt_func=partial(SGD, wd=0.1)",
}
"""For each attribute of fastai's Learner what to use instead."""
