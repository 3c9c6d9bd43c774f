"""The Lightning module: model, head and loss in training; scores and metrics in validation.

# B batch
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn

from evqa.errors import RunError
from evqa.heads.base import Criterion, Head
from evqa.metrics.modules import all_metrics
from evqa.models.base import Model
from evqa.models.shards import whole_of
from evqa.training.datamodule import ScoreDataModule
from evqa.training.failures import of_all_ranks
from evqa.training.finite import LateCheck
from evqa.training.model_with_head import METADATA, ModelWithHead
from evqa.training.optimizer import AdamW, WarmupCosine
from evqa.training.sharding import ShardedWeights
from evqa.training.token_loss import TokenLoss, loss_of, over_ranks
from evqa.training.window import Window
from evqa.types import Batch, Failure, LabelScale


class ScoreModule(ModelWithHead, lightning.LightningModule):
    """Trains a model with its head; knows their interfaces, never a concrete one.

    metadata: plain values that go into every checkpoint (configuration, preprocessing, base weights).
    max_failures: share of unreadable items above which training stops. later: reads the weights of a model that is laid
        out without memory, once it is sharded.
    """

    def __init__(
        self,
        model: Model,
        head: Head,
        criterion: Criterion,
        scale: LabelScale,
        *,
        optimizer: AdamW,
        schedule: WarmupCosine,
        metadata: dict[str, Any],
        max_failures: float = 0.1,
        later: Sequence[Callable[[], None]] = (),
    ) -> None:
        super().__init__(model, head, scale)
        self.criterion = criterion
        self.optimizer, self.schedule = optimizer, schedule
        self.metadata, self.max_failures = metadata, max_failures
        self.strict_loading = False  # a checkpoint does not hold the published base
        self.score_metrics = all_metrics()  # of the validation that is going on
        self._unscored: list[Failure] = []  # of this rank, since the validation began
        self.token_loss = TokenLoss()  # the same for a head without scores; of all ranks at the end
        self._train_failures: dict[str, Failure] = {}
        self._late = LateCheck()
        self._later = later
        self.shards: ShardedWeights | None = None  # where the trainer's strategy is to shard

    # ---- training

    def configure_model(self) -> None:
        """Shard the weights over the processes, where the trainer's strategy says so, and read them then."""
        if self.device_mesh is None or self.shards is not None:
            return
        computed = torch.bfloat16 if self.trainer.precision == "bf16-mixed" else None
        layers = self.model.blocks()["language"]
        self.shards = ShardedWeights(self, layers, mesh=self.device_mesh["data_parallel"], layers_as=computed)
        for read in self._later:
            read()
        self.shards.begin()

    def training_step(self, batch: Batch, batch_index: int) -> Tensor:
        """Return the weighted loss of one batch; one that is not finite stops the run, a step later, with its batch."""
        self._count_failures(batch.failures)
        if not len(batch):
            return self._zero_loss() if self.shards is None else self.shards.pass_by()
        output = self.model(batch.inputs)
        loss = self.head.loss(output, batch.label_B, self.criterion)
        self._late.note(loss, f"step {self.global_step} (batch {batch_index}), ids {', '.join(batch.ids)}")
        return self._window.add(loss, self.head.count(output, batch.label_B), output.num_padded())

    def on_train_start(self) -> None:
        """Begin to count; a checkpoint is only ever saved between two windows."""
        self._window = Window(
            unit=self._data().batches.batch_size,
            num_batches=self.trainer.accumulate_grad_batches,
            device=self.device,
        )

    def on_train_end(self) -> None:
        """Look at the last loss."""
        self._late.check()

    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Take the mean over the items of all micro-batches and processes; log the loss that the step lowers."""
        strategy = self.trainer.strategy
        seen = self._window.close(
            (weight for group in optimizer.param_groups for weight in group["params"]),
            world=self.trainer.world_size,
            add_up=lambda sum_S: strategy.reduce(sum_S, reduce_op="sum"),
        )
        self.log("train/loss", seen.loss)
        self.log("train/padding", seen.padding)

    def _zero_loss(self) -> Tensor:
        return torch.stack([p.sum() for p in self.parameters() if p.requires_grad]).sum() * 0.0

    def _count_failures(self, failures: Iterable[Failure]) -> None:
        self._train_failures |= {failure.id: failure for failure in failures}
        num_records = len(self._data().splits["train"])
        if len(self._train_failures) > self.max_failures * num_records:
            examples = "; ".join(f"{f.id}: {f.reason}" for f in list(self._train_failures.values())[:3])
            raise RunError(
                f"{len(self._train_failures)} of {num_records} training items could not be read, more than "
                f"data.max_failures={self.max_failures} allows. The first: {examples}"
            )

    def train_failures(self) -> tuple[Failure, ...]:
        """Return the training items that could not be read, of all processes and lives up to the last checkpoint."""
        return tuple(self._train_failures[id_] for id_ in sorted(self._train_failures))

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the norm over all that is trained; log that norm as it was before, and the learning rates."""
        weights = [weight for group in optimizer.param_groups for weight in group["params"] if weight.grad is not None]
        if weights:
            norm = whole_of(nn.utils.get_total_norm([weight.grad for weight in weights]))
            if gradient_clip_val is not None:
                nn.utils.clip_grads_with_norm_(weights, gradient_clip_val, norm)
            self.log("train/grad_norm", norm)
        self.log_dict({f"lr/{group['name']}": group["lr"] for group in optimizer.param_groups})

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Build AdamW with one learning rate a part, and the schedule over all steps of the run."""
        optimizer = self.optimizer.build(self.named_trained())
        schedule = self.schedule.build(optimizer, num_steps=self._num_steps())
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def _num_steps(self) -> int:
        # Lightning's own estimate makes the loaders before their saved place is restored.
        num_batches = len(self._data().train_dataloader())
        return math.ceil(num_batches / self.trainer.accumulate_grad_batches) * int(self.trainer.max_epochs or 1)

    def _data(self) -> ScoreDataModule:
        data: ScoreDataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        return data

    # ---- validation

    def on_validation_epoch_start(self) -> None:
        """Look at the last loss, and begin a new split."""
        self._late.check()
        self._unscored, self.token_loss = [], TokenLoss()
        self.score_metrics.reset()
        if self.shards is not None:
            self.shards.open()

    def validation_step(self, batch: Batch, batch_index: int) -> None:
        """Collect scores, or the loss where the head gives none; metrics are taken over the whole split."""
        if self.head.gives_scores:
            self._score(batch)
        else:
            self.token_loss += loss_of(batch, model=self.model, head=self.head, criterion=self.criterion)

    def _score(self, batch: Batch) -> None:
        values = self.values(batch)
        kept = [index for index, value in enumerate(values) if isinstance(value, float)]
        unread = [Failure(id=batch.ids[i], reason=value) for i, value in enumerate(values) if isinstance(value, str)]
        self._unscored += [*batch.failures, *unread]
        scores = [value for value in values if isinstance(value, float)]
        self.score_metrics.update(scores, [batch.labels[i] for i in kept], [batch.ids[i] for i in kept])

    def on_validation_epoch_end(self) -> None:
        """Log the metrics of the whole validation split, with n and the number of failures."""
        if self.shards is not None:
            self.shards.close()
        if self.head.gives_scores:
            logged = {f"val/{name}": float(value) for name, value in self.score_metrics.compute().items()}
            logged["val/failed"] = float(len(of_all_ranks(self._unscored)))
        else:
            self.token_loss = over_ranks(self.token_loss)
            logged = self.token_loss.logged() if self.trainer.state.fn == "fit" else {}  # else: of any split
        for name, value in logged.items():
            self.log(name, torch.tensor(value, dtype=torch.float64), rank_zero_only=False)

    # ---- checkpoints and devices

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move the tensors of a batch; uint8 frames travel as they are and are normalised on the device."""
        return batch.to(device)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what scoring needs beside the published base, and the settings that it must share."""
        self._late.check()
        kept = self.kept()
        checkpoint["state_dict"] = {name: tensor for name, tensor in checkpoint["state_dict"].items() if name in kept}
        self._count_failures(of_all_ranks(self.train_failures()))
        failures = [(failure.id, failure.reason) for failure in self.train_failures()]
        checkpoint[METADATA] = {**self.metadata, "train_failures": failures}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Remember the unreadable items of earlier lives."""
        failures = checkpoint[METADATA].get("train_failures", [])
        self._train_failures = {id_: Failure(id=id_, reason=reason) for id_, reason in failures}
