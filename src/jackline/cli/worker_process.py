"""The worker process: `python -m jackline.cli.worker_process NAME READ_FD WRITE_FD`.

Started by a supervisor, which sends the settings as the first line.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
import structlog
import uvloop

from jackline.cli.logs import configure_logs
from jackline.cli.stores import open_store
from jackline.errors import ConfigError, StoreUnavailable
from jackline.link import Beat, Failed, Gone, Held, Leave, Lines, Lost, Ready, Stopping, ToWorker, encode
from jackline.processes import CallProcesses, kill_tree
from jackline.settings import Settings
from jackline.tools import Catalogue
from jackline.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from jackline.agents.early import EarlyAgent
    from jackline.link import ToSupervisor
    from jackline.log.base import Lease
    from jackline.tools import AgentSpec

_P = TypeVar("_P", bound=asyncio.BaseProtocol)

BEAT_SECONDS = 0.1
"""How often the loop says that it turns."""


class PipeBoss:
    """Tells the supervisor through the pipe."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._lock = threading.Lock()

    def tell(self, message: ToSupervisor) -> None:
        """One line; small enough that the pipe takes it whole. Does not return when the supervisor is gone:
        nobody renews the leases any more, and to end in good order would be to act on."""
        data = encode(message)
        with self._lock:
            try:
                while data:
                    data = data[os.write(self._fd, data) :]
            except BrokenPipeError:
                kill_tree(os.getpid())

    def held(self, lease: Lease) -> None:
        """See `Boss`."""
        self.tell(Held(lease=lease))

    def gone(self, run_id: str) -> None:
        """See `Boss`."""
        self.tell(Gone(run_id=run_id))

    def stopping(self, run_id: str) -> None:
        """See `Boss`."""
        self.tell(Stopping(run_id=run_id))


def main() -> None:
    """Run until told to leave, or until the supervisor is gone."""
    name, read_fd, write_fd = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    os.set_inheritable(read_fd, False)
    os.set_inheritable(write_fd, False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    configure_logs()
    boss = PipeBoss(write_fd)
    pipe = os.fdopen(read_fd, "rb", 0)
    first = bytearray()
    while not first.endswith(b"\n"):
        byte = pipe.read(1)
        if not byte:
            return
        first += byte
    settings = Settings.model_validate_json(bytes(first))
    try:
        processes = CallProcesses(grace=settings.kill_seconds)
        processes.watch()
        uvloop.run(
            _work(name, settings, boss, pipe.fileno(), processes), loop_factory=lambda: CallLoop(processes)
        )
    except (ConfigError, StoreUnavailable) as error:
        boss.tell(Failed(reason=str(error)))
        sys.exit(2)
    except BaseException:  # noqa: BLE001  the process' top
        # A tool's thread that does not end would keep the dead worker as a process.
        structlog.get_logger().exception("worker_crashed", worker=name)
        sys.stderr.flush()
        os._exit(1)
    # A thread that cannot be killed must not keep a worker alive that has handed everything back.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


class CallLoop(uvloop.Loop):
    """A loop that tells which call starts a process: uvloop forks by itself, past `subprocess`."""

    def __init__(self, processes: CallProcesses) -> None:
        super().__init__()
        self._call_processes = processes

    async def subprocess_exec(
        self, protocol_factory: Callable[[], _P], program: Any, *args: Any, **options: Any
    ) -> tuple[asyncio.BaseProtocol, _P]:
        """See `asyncio.loop`."""
        return await self._noted(super().subprocess_exec(protocol_factory, program, *args, **options))

    async def subprocess_shell(
        self, protocol_factory: Callable[[], _P], cmd: Any, **options: Any
    ) -> tuple[asyncio.BaseProtocol, _P]:
        """See `asyncio.loop`."""
        return await self._noted(super().subprocess_shell(protocol_factory, cmd, **options))

    async def _noted(
        self, begin: Coroutine[Any, Any, tuple[asyncio.BaseProtocol, _P]]
    ) -> tuple[asyncio.BaseProtocol, _P]:
        try:
            self._call_processes.starting()
            transport, protocol = await begin
        finally:
            begin.close()  # where it was refused, it was never begun
        # Its type says protocol, but that is what stands second.
        self._call_processes.started(cast("asyncio.SubprocessTransport", transport).get_pid())
        return transport, protocol


async def _work(
    name: str, settings: Settings, boss: PipeBoss, read_fd: int, processes: CallProcesses
) -> None:
    from jackline.agents.early import EarlyAgent, agent_to_serve

    store = await open_store(settings)
    try:
        agent = agent_to_serve(settings)  # imports what the agent needs: seconds
        async with agent.opened():
            spec = await agent.describe()
            worker = Worker(
                store=store, agent=agent, settings=settings, name=name, boss=boss, processes=processes
            )
            loop = asyncio.get_running_loop()
            # Threads that an async tool starts must be known too, or a stop would call them ended.
            loop.set_default_executor(worker.threads)
            _listen(read_fd, worker, loop)
            boss.tell(_ready(name, spec))
            async with asyncio.TaskGroup() as group:
                beside = [group.create_task(_beat(boss))]
                if isinstance(agent, EarlyAgent):
                    beside.append(group.create_task(_tell_again(name, agent, boss)))
                await worker.run()
                for task in beside:
                    task.cancel()
    finally:
        await store.aclose()


def _ready(name: str, spec: AgentSpec) -> Ready:
    return Ready(catalogue=msgspec.json.encode(Catalogue(worker=name, agents=(spec,))))


async def _tell_again(name: str, agent: EarlyAgent, boss: PipeBoss) -> None:
    boss.tell(_ready(name, await agent.arrived()))


async def _beat(boss: PipeBoss) -> None:
    while True:
        boss.tell(Beat())
        await asyncio.sleep(BEAT_SECONDS)


def _listen(fd: int, worker: Worker, loop: asyncio.AbstractEventLoop) -> None:
    """A thread reads the supervisor's pipe, so that its end is seen while the loop stands still: a
    worker without a supervisor has nobody to renew its leases, and must not act on."""

    def take(message: ToWorker) -> None:
        call: Callable[[], None]
        match message:
            case Leave():
                call = worker.leave
            case Lost():
                call = lambda: worker.lose(message.run_id)  # noqa: E731
        loop.call_soon_threadsafe(call)

    def listen() -> None:
        lines: Lines[ToWorker] = Lines(msgspec.json.Decoder(ToWorker), take)
        while data := os.read(fd, 65536):
            lines.feed(data)
        kill_tree(os.getpid())

    threading.Thread(target=listen, name="supervisor", daemon=True).start()


if __name__ == "__main__":
    main()
