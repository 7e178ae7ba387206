"""What the gateway process is told at its start."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from ..keys import Keys, load_or_mint


@dataclass(frozen=True)
class GatewayConfig:
    """Ports, folders and URLs of the parts behind the gateway. The file holds passwords: the owner's only."""

    port: int
    postgrest_port: int
    secrets: str
    auth_database_url: str
    realtime_database_url: str
    functions_database_url: str
    project: str
    folder: str
    deno: str
    deno_dir: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def keys(self) -> Keys:
        return load_or_mint(Path(self.secrets))

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(self), file, indent=2)

    @classmethod
    def read(cls, path: Path) -> GatewayConfig:
        return cls(**json.loads(path.read_text()))
