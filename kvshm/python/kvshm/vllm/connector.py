# SPDX-License-Identifier: Apache-2.0
"""connector.py - KvshmConnector: vLLM's calls, handed to one of the two halves

Written for vLLM 0.32.  What vLLM calls in each step and layer does nothing unless there is something to
do.  Where the cache cannot serve an engine, that is said once and the engine goes on without it.
"""
import functools
import os
from typing import Any, Dict, Iterable, List, Optional, Sequence, Set, Tuple

import kvshm
from vllm.distributed.kv_transfer.kv_connector.v1.base import (
    KVConnectorBase_V1, KVConnectorRole, KVConnectorTransferResults, SupportsHMA)
from vllm.logger import init_logger
from vllm.platforms import current_platform
from vllm.v1.core.kv_cache_utils import resolve_kv_cache_block_sizes
from vllm.v1.metrics.cache_hit_source import CacheHitSource

from ..gpu_layout import Layout
from ..pieces import find_pieces
from . import groups
from .cpu import CpuGroup, CpuWorker
from .events import Events
from .gpu import BOUNCE_LEN, MAX_JOBS, GpuWorker, current_stream
from .hits import Units
from .identity import space_of
from .options import Options
from .orders import Orders, Report, Save, Space, Spaces
from .scheduler import SchedulerHalf
from .worker import Group, WorkerHalf

logger = init_logger("vllm.kvshm")
NO_ORDERS = Orders()


def units_of(vllm_config: Any, kv_cache_config: Any) -> Units:
    """The scheduler's block, of which hits are multiples, and a hash's."""
    return Units(*resolve_kv_cache_block_sizes(kv_cache_config, vllm_config))


def why_not(vllm_config: Any, kv_cache_config: Any) -> Optional[str]:
    """What of this engine the connector cannot serve, or None."""
    parallel = vllm_config.parallel_config
    if parallel.decode_context_parallel_size > 1 or parallel.prefill_context_parallel_size > 1:
        return "context parallelism"
    return groups.why_not(kv_cache_config, units_of(vllm_config, kv_cache_config).hash_tokens)


def warn_at_start(vllm_config: Any) -> None:
    if vllm_config.kv_transfer_config.kv_load_failure_policy != "recompute":
        logger.warning("kvshm: kv_load_failure_policy is %r: a block that is lost while it is loaded ends its "
                       "request with an error; set \"recompute\"",
                       vllm_config.kv_transfer_config.kv_load_failure_policy)
    kind = vllm_config.cache_config.prefix_caching_hash_algo
    if kind.startswith("xxhash") and "PYTHONHASHSEED" not in os.environ:
        logger.warning("kvshm: %s without PYTHONHASHSEED has a random seed: no other engine will hit what this one "
                       "saves; set PYTHONHASHSEED, or use sha256_cbor", kind)


def is_layered(vllm_config: Any, forward_context: Any) -> bool:
    """Are the layers' hooks called before the step's results are asked for?  A graph of the whole step has none, and
    the layers of a draft model come later."""
    return (forward_context.attn_metadata is not None and forward_context.cudagraph_runtime_mode.name != "FULL"
            and vllm_config.speculative_config is None)


class KvshmConnector(KVConnectorBase_V1, SupportsHMA):
    _cache_hit_source = CacheHitSource.HOST

    def __init__(self, vllm_config: Any, role: KVConnectorRole, kv_cache_config: Any) -> None:
        super().__init__(vllm_config, role, kv_cache_config)
        self.options = Options.parse(self._kv_transfer_config.kv_connector_extra_config)
        self.scheduler: Optional[SchedulerHalf] = None
        self.worker: Optional[WorkerHalf] = None
        self.layered: Sequence[Any] = ()    # the worker's: asked for at each layer
        self.spaces: Optional[Spaces] = None
        reason = why_not(vllm_config, kv_cache_config)
        if role == KVConnectorRole.SCHEDULER:
            warn_at_start(vllm_config)
            if reason:
                logger.warning("kvshm: cannot serve an engine with %s; it goes on without", reason)
            client = None if reason else self.open_client("vllm scheduler")
            if client:
                self.scheduler = self.make_scheduler(client)
        self.is_served = reason is None

    def open_client(self, label: str) -> Optional[kvshm.Client]:
        """One that finds a daemon that is not there yet."""
        try:
            return kvshm.open(self.options.socket, instance=self.options.instance, label=label, required=False)
        except kvshm.Error as error:
            logger.warning("kvshm: %s; the engine goes on without", error)
            return None

    def make_scheduler(self, client: kvshm.Client) -> SchedulerHalf:
        units, events = units_of(self._vllm_config, self._kv_cache_config), self._vllm_config.kv_events_config
        half = SchedulerHalf(client, self.options, units, groups.may_resume(self._kv_cache_config),
                             Events(units.hash_tokens) if events and events.enable_kv_cache_events else None)
        half.may_load = self._kv_transfer_config.is_kv_consumer
        half.may_save = self._kv_transfer_config.is_kv_producer
        return half

    @classmethod
    def get_required_kvcache_layout(cls, vllm_config: Any) -> Optional[str]:
        """A wish, so that a page of all layers is one run.  On CPUs there is no such layout, only a warning."""
        return None if current_platform.is_cpu() else "BLHNC"

    @property
    def requires_kv_delivery(self) -> bool:
        return False                    # a save that is lost is a miss later

    # ---- worker --------------------------------------------------------------------------------------
    def register_kv_caches(self, kv_caches: Dict[str, Any]) -> None:
        if not self.is_served:
            return
        device = next(iter(kv_caches.values())).device
        make = {"cpu": self.make_cpu_worker, "cuda": self.make_gpu_worker}.get(device.type)
        if make is None:
            logger.warning("kvshm: no path to the memory of %s; the engine goes on without", device)
            return
        client = self.open_client(f"vllm worker {self._vllm_config.parallel_config.rank}")
        if not client:
            return
        try:
            self.use_worker(make(client, [{name: kv_caches[name] for name in group.layer_names}
                                          for group in self._kv_cache_config.kv_cache_groups]))
        except (kvshm.Error, KeyError, ValueError) as error:
            logger.warning("kvshm: %s; the engine goes on without", error)
            client.close()

    def use_worker(self, worker: WorkerHalf) -> None:
        self.spaces = Spaces(tuple(group.told for group in worker.groups), worker.is_behind)
        self.layered = worker.layered
        self.worker = worker
        worker.link.look()

    def make_cpu_worker(self, client: kvshm.Client, tensors: List[Dict[str, Any]]) -> WorkerHalf:
        nr_pages, made = self._kv_cache_config.num_blocks, []
        for index, kv_caches in enumerate(tensors):
            if kv_caches:
                pages = kvshm.Pages(find_pieces(kv_caches, nr_pages), nr_pages, kv_caches)
                made.append(CpuGroup(*self.attach(client, index, kv_caches, pages.page_len), pages))
        return CpuWorker(client, self.options, made, groups.may_resume(self._kv_cache_config))

    def make_gpu_worker(self, client: kvshm.Client, tensors: List[Dict[str, Any]]) -> WorkerHalf:
        block_tokens = groups.device_block_tokens(self._kv_cache_config)
        layout = Layout(tensors, self._kv_cache_config.num_blocks, block_tokens)
        blocks = -(-self._vllm_config.model_config.max_model_len // block_tokens)
        gpu = layout.open(client, max_jobs=MAX_JOBS, max_blocks=blocks * len(layout.parts), bounce_len=BOUNCE_LEN)
        made = [Group(*self.attach(client, part.group, part.tensors, gpu.block_len(i), part.box.order()))
                for i, part in enumerate(layout.parts)]
        return GpuWorker(client, self.options, made, groups.may_resume(self._kv_cache_config), layout, gpu,
                         functools.partial(current_stream, layout.device))

    def attach(self, client: kvshm.Client, index: int, kv_caches: Dict[str, Any], block_len: int,
               order: Sequence[int] = ()) -> Tuple[Space, kvshm.Namespace]:
        space = space_of(self._vllm_config, self._kv_cache_config, index, kv_caches, block_len, self.options.model_id,
                         order)
        ns = client.attach_ns(space.fingerprint, space.layout, space.block_len, space.block_tokens, space.label)
        return space, ns

    def get_handshake_metadata(self) -> Optional[Spaces]:
        return self.spaces

    def start_load_kv(self, forward_context: Any, **kwargs: Any) -> None:
        if self.worker and (self._connector_metadata.loads or self.worker.is_busy()):
            is_empty_step = forward_context.attn_metadata is None and not kwargs
            self.worker.load(self._connector_metadata, is_empty_step, is_layered(self._vllm_config, forward_context))

    def handle_preemptions(self, kv_connector_metadata: Orders) -> None:
        if self.worker and kv_connector_metadata.taken_away:
            self.worker.before_step(kv_connector_metadata.taken_away)

    def wait_for_layer_load(self, layer_name: str) -> None:
        if self.layered:
            self.worker.wait_for_layer(layer_name)

    def save_kv_layer(self, layer_name: str, kv_layer: Any, attn_metadata: Any, **kwargs: Any) -> None:
        """Blocks are saved whole, at the end of the step."""

    def wait_for_save(self) -> None:
        if self.worker and self._connector_metadata.saves:
            self.worker.save(self._connector_metadata)

    def get_finished(self, finished_req_ids: Set[str]) -> Tuple[Optional[Set[str]], Optional[Set[str]]]:
        if not self.worker:
            return None, None
        self.worker.after_step()
        return None, self.worker.take_finished() or None

    def get_transfer_results(self, finished_req_ids: Set[str]) -> KVConnectorTransferResults:
        results = super().get_transfer_results(finished_req_ids)
        if self.worker:                 # after what is finished: of that, all failures are known
            results.failed_recving = self.worker.take_failed()
        return results

    def get_block_ids_with_load_errors(self) -> Set[int]:
        return self.worker.take_errors() if self.worker else set()

    def build_connector_worker_meta(self) -> Optional[Report]:
        return self.worker.take_report() if self.worker else None

    # ---- scheduler -----------------------------------------------------------------------------------
    def set_xfer_handshake_metadata_pp_aware(self, metadata: Dict[Tuple[int, int], Any]) -> None:
        workers = [told.spaces for _, told in sorted(metadata.items()) if isinstance(told, Spaces)]
        if not self.scheduler or len(workers) < self._vllm_config.parallel_config.world_size:
            return                      # a worker is without: so are all
        try:
            self.scheduler.attach(workers, any(told.is_behind for told in metadata.values()))
        except kvshm.Error as error:
            logger.warning("kvshm: %s; the engine goes on without", error)

    def get_num_new_matched_tokens(self, request: Any, num_computed_tokens: int) -> Tuple[Optional[int], bool]:
        if not self.scheduler:
            return 0, False
        try:
            return self.scheduler.match(request, num_computed_tokens)
        except Exception as error:      # a cache does not end its engine
            self.go_without(error)
            return 0, False

    def update_state_after_alloc(self, request: Any, blocks: Any, num_external_tokens: int) -> None:
        if self.scheduler:
            self.scheduler.allocated(request, blocks.get_block_ids() if num_external_tokens else (),
                                     num_external_tokens)

    def build_connector_meta(self, scheduler_output: Any) -> Orders:
        if not self.scheduler:
            return NO_ORDERS
        loads = self.scheduler.take_loads()
        saves: List[Save] = []
        taken_away: List[int] = []
        try:
            taken_away = self.scheduler.taken_away(scheduler_output, loads)
            saves = self.scheduler.saves(scheduler_output)
        except Exception as error:
            taken_away = list(self.scheduler.open)   # any may be
            self.go_without(error)
        return Orders(loads, saves, taken_away) if loads or saves or taken_away else NO_ORDERS

    def update_connector_output(self, connector_output: Any) -> None:
        report = connector_output.kv_connector_worker_meta
        if not self.scheduler or not report:
            return
        try:
            self.scheduler.settle(report)
        except Exception as error:
            self.go_without(error)

    def go_without(self, error: Exception) -> None:
        logger.warning("kvshm: %s; the engine goes on without", error, exc_info=not isinstance(error, kvshm.Error))
        self.scheduler.go_without()

    def has_pending_push_work(self) -> bool:
        return self.scheduler is not None and self.scheduler.is_waiting()

    def on_new_request(self, request: Any) -> None:
        if self.scheduler:
            try:
                self.scheduler.queued(request)
            except Exception as error:
                self.go_without(error)

    def request_finished(self, request: Any, block_ids: Any) -> Tuple[bool, Optional[Dict[str, Any]]]:
        if self.scheduler:
            try:
                self.scheduler.finished(request)
            except Exception as error:
                self.go_without(error)
        return False, None

    def request_finished_all_groups(self, request: Any,
                                    block_ids: Sequence[List[int]]) -> Tuple[bool, Optional[Dict[str, Any]]]:
        return self.request_finished(request, block_ids)

    def take_events(self) -> Iterable[Any]:
        events = self.scheduler.events if self.scheduler else None
        return events.take() if events else ()

    def reset_cache(self) -> Optional[bool]:
        if not self.scheduler:
            return None
        is_done = self.scheduler.drop()
        if is_done and self.scheduler.events:
            self.scheduler.events.cleared()
        return is_done

    def shutdown(self) -> None:
        if self.worker:
            self.worker.shutdown()
        if self.scheduler:
            self.scheduler.client.close()
