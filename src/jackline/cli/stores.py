"""Which store the settings ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jackline.errors import ConfigError

if TYPE_CHECKING:
    from jackline.log.base import Store
    from jackline.settings import Settings


async def open_store(settings: Settings) -> Store:
    """Open the store. Raises `ConfigError` or `StoreUnavailable` that says what to do."""
    if settings.redis is None:
        from jackline.log.sqlite import SqliteStore

        return await SqliteStore.open(
            settings.data_dir,
            synchronous=settings.sqlite_synchronous,
            max_entry_bytes=settings.max_entry,
            disk_reserve=settings.disk_reserve,
        )
    try:
        from jackline.log.redis import RedisStore
    except ImportError as error:
        raise ConfigError(f"{error.name} is missing: pip install 'jackline[redis]'") from None
    return await RedisStore.open(
        settings.redis,
        prefix=settings.redis_prefix,
        max_entry_bytes=settings.max_entry,
        replicas=settings.redis_replicas,
    )
