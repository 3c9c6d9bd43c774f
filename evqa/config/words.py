"""Words that people type for our keys: other programs' names, and another data set's names for the same thing."""

from __future__ import annotations

from collections.abc import Collection

from evqa.config.nearest import nearest

# Our key (or group), and what the last word of a key is that means it elsewhere.
CALLED = {
    "trainer.epochs": "epoch num_epochs n_epochs max_epochs num_train_epochs",
    "trainer.devices": "gpu gpus num_gpus n_gpus ngpus num_devices",
    "trainer.accelerator": "device",
    "trainer.precision": "fp16 bf16 amp dtype",
    "trainer.accumulate": "accumulation grad_accum accumulate_grad_batches gradient_accumulation_steps",
    "trainer.clip_norm": "grad_clip clip_grad max_grad_norm gradient_clip_val",
    "trainer.validate_every": "eval_every val_check_interval check_val_every_n_epoch",
    "trainer.log_every": "logging_steps log_every_n_steps",
    "optimizer.learning_rate": "lr base_lr max_lr",
    "optimizer.weight_decay": "wd",
    "optimizer": "optim",
    "schedule": "scheduler lr_scheduler lr_scheduler_type",
    "schedule.warmup": "warmup_ratio warmup_steps warmup_epochs",
    "loss": "loss_fn criterion",
    "seed": "random_seed manual_seed",
    "data": "dataset datasets",
    "data.batch_size": "batch batchsize bs train_batch_size per_device_train_batch_size",
    "data.workers": "num_workers n_workers dataloader_num_workers",
    "data.val_fraction": "val_split val_ratio val_size validation_split",
    "data.test_fraction": "test_split test_ratio test_size",
    "data.folds": "num_folds n_folds k_folds kfold",
    "data.limit": "subset max_samples max_train_samples num_samples",
    "data.cache.folder": "cache_dir cache_folder",
    "data.path": "csv table annotations annotation_file data_path train_csv train_path labels_file",
    "data.root": "videos video_dir video_folder video_root videos_dir data_dir root_dir media folder",
    "data.csv": "path table annotations annotation_file data_path train_csv train_path labels_file",
    "data.videos": "root video_dir video_folder video_root videos_dir data_dir root_dir media folder",
    "data.val_path": "val_table val_file",
    "data.val_csv": "val_table val_file",
    "data.id_column": "id id_col",
    "data.path_column": "path_col file_column filename_column video_column",
    "data.title_column": "title",
    "data.description_column": "description text_column caption",
    "data.group_column": "group groups creator",
    "data.tag_columns": "tags tag_column",
    "data.label.name": "label_column label_col label_name labels target target_column score_column",
    "data.label.range": "label_range scale score_range min_score max_score",
    "frames.count": "num n number n_frames nframes num_frames frame_count num_segments max_frames",
    "frames.fps": "frame_rate sampling_rate",
    "frames.policy": "sampling",
    "modal": "modality modalities mode",
    "model": "backbone arch architecture model_name model_name_or_path",
    "model.checkpoint": "pretrained weights ckpt",
    "model.recompute": "gradient_checkpointing activation_checkpointing checkpointing",
    "model.image_size": "resolution img_size frame_size",
    "lora.rank": "r lora_r lora_rank",
    "lora.alpha": "lora_alpha",
    "lora.dropout": "lora_dropout",
    "prompt.question": "question prompt_text",
    "run.root": "output out output_dir out_dir save_dir log_dir",
    "run.name": "run_name exp_name",
    "run.experiment": "experiment_name exp",
    "logger.project": "wandb_project",
    "callbacks.early_stopping": "patience early_stop",
}

# What a key may hold that has no value yet.
EXAMPLES = {
    "data.path": "ratings.csv, the table",
    "data.root": "videos, the folder of its files",
    "data.csv": "train_data.csv, the table",
    "data.videos": "videos, the folder of its files",
    "data.label.range": "[1,5], the ends of the label's scale",
}

# Keys of a data set that others call differently; either is understood where only the other is known.
SAME = {"csv": "path", "videos": "root", "val_csv": "val_path", "test_csv": "test_path"}
OTHER_NAME = SAME | {other: name for name, other in SAME.items()}


TABLES = (".csv", ".tsv", ".txt", ".jsonl", ".json", ".mat")


def as_table(word: str) -> str:
    """Say how a table is given, where a word names one; empty elsewhere."""
    given = word.lower().endswith(TABLES)
    return f" A table is given as data=table data.path={word} data.root=FOLDER." if given else ""


def other_name(key: str) -> str | None:
    """What another data set calls this key of `data`; None where there is no other name."""
    group, _, name = key.partition(".")
    return f"data.{OTHER_NAME[name]}" if group == "data" and name in OTHER_NAME else None


def keys_meant(key: str, known: Collection[str]) -> list[str]:
    """The known keys that are called so elsewhere: those of the same group, or all.

    A key without a group also means those that end in it.
    """
    group, _, word = key.rpartition(".")
    called = [ours for ours, words in CALLED.items() if ours in known and word in words.split()]
    same_group = [ours for ours in called if group and ours.startswith(f"{group}.")]
    return same_group or list(dict.fromkeys([*called, *([] if group else _ending(word, known))]))


def only_key(word: str, known: Collection[str]) -> list[str]:
    """The known key that ends in a word, where it is the only one; empty elsewhere."""
    found = _ending(word, known)
    return found if len(found) == 1 else []


def _ending(word: str, known: Collection[str]) -> list[str]:
    return sorted(ours for ours in known if ours.rpartition(".")[2] == word)


def keys_like(word: str, known: Collection[str]) -> list[str]:
    """The known key whose last word is most similar to `word`; empty where none is."""
    lasts = {ours.rpartition(".")[2]: ours for ours in sorted(known)}
    found = nearest(word, lasts)
    return [lasts[found]] if found else []
