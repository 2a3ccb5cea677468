"""The engine's own words for what went wrong, and what we say instead.

Each row was seen on a real engine: its lines, the build that wrote them and how to make them again
stand in `tests/policy/fixtures/engine_log.toml`.
"""

from __future__ import annotations

from rbee.policy.gpu_messages import GPU_HINTS, GPU_ROWS
from rbee.policy.message_row import Row
from rbee.policy.message_row import row as _row

_CORRUPT = "MODEL_CORRUPTED"
_UNFIT = "MODEL_UNSUPPORTED"
_MEMORY = "WORKER_OUT_OF_MEMORY"
_ARGUMENT = "ENGINE_ARGUMENT"

ROWS: tuple[Row, ...] = (
    # --- what was asked of the engine; its files first, since their messages follow below too
    _row(
        "draft model",
        _ARGUMENT,
        r"failed to load draft model, '(?:.*/)?(?P<file>[^/']+)'",
        "its draft model {file} cannot be loaded",
    ),
    _row(
        "LoRA adapter",
        _ARGUMENT,
        r"failed to load lora adapter '(?:.*/)?(?P<file>[^/']+)'",
        "its LoRA adapter {file} cannot be loaded",
    ),
    _row(
        "multimodal projector",
        _ARGUMENT,
        r"failed to load multimodal model, '(?:.*/)?(?P<file>[^/']+)'",
        "{file} is no multimodal projector for it",
    ),
    _row(
        "chat template refused",
        _ARGUMENT,
        r"error: the supplied chat template is not supported",
        "its chat template is wrong",
    ),
    _row(
        "chat template",
        _ARGUMENT,
        r"common_chat_templates_init: error: (?P<why>.+)",
        "its chat template is wrong: {why}",
    ),
    _row(
        "quantised V cache",
        _ARGUMENT,
        r"quantized V cache requires flash_attn",
        "--cache-type-v below 16 bits needs --flash-attn on",
    ),
    _row("unknown flag", _ARGUMENT, r"error: invalid argument: (?P<flag>.+)", "invalid: {flag}"),
    _row("flag without a value", _ARGUMENT, r"error: (?P<flag>-\S+): a value is missing", "{flag}"),
    _row(
        "bad value",
        _ARGUMENT,
        r"error while handling argument \"(?P<flag>[^\"]+)\": (?P<why>.+)",
        "{flag}: {why}",
    ),
    _row(
        "slots",
        _ARGUMENT,
        r"n_seq_max must be <= (?P<most>\d+)",
        "more than {most} slots are not possible (--parallel)",
    ),
    _row("port taken", "PORT_TAKEN", r"couldn't bind HTTP server socket", "its port is in use"),
    _row(
        "library missing",
        "ENGINE_MISSING",
        r"error while loading shared libraries: (?P<file>[^:]+):",
        "llama-server needs {file}, which is not installed",
    ),
    # --- memory, before the model: a load that ran out of it speaks of the model as well
    *GPU_ROWS,
    _row(
        "allocation refused",
        _MEMORY,
        r"insufficient memory \(attempted to allocate +(?P<size>[\d.]+) MB\)",
        "{size} MB more were not to be had",
    ),
    _row(
        "mapping refused",
        _MEMORY,
        r"mmap failed: Cannot allocate memory",
        "the file could not be mapped into memory",
    ),
    _row(
        "no more threads",
        _MEMORY,
        r"error loading model: Resource temporarily unavailable",
        "no memory for another thread, or too many processes",
    ),
    _row("bad_alloc", _MEMORY, r"bad_alloc", "memory was not to be had"),
    _row(
        "no thread",
        _MEMORY,
        r"std::system_error",
        "no memory for another thread, or too many processes",
    ),
    # --- the file of the model
    _row(
        "missing file",
        "MODEL_FILE_MISSING",
        r"failed to open GGUF file .*\(No such file or directory\)",
        "its file is not there",
    ),
    _row(
        "unreadable file",
        _UNFIT,
        r"failed to open GGUF file .*\((?P<why>[^()]+)\)$",
        "its file cannot be opened: {why}",
    ),
    _row("no magic", _CORRUPT, r"failed to read magic", "the file is empty or cannot be read"),
    _row(
        "web page",
        _CORRUPT,
        r"invalid magic characters: '<",
        "it is a web page and no model: its download got an error page",
    ),
    _row(
        "bad magic",
        _CORRUPT,
        r"invalid magic characters: '(?P<found>[^']*)'",
        "it is no GGUF file: it begins with '{found}'",
    ),
    _row(
        "newer format",
        _UNFIT,
        r"GGUF file is version (?P<version>\d+) but this software only supports",
        "its format, GGUF version {version}, is newer than this engine",
    ),
    _row(
        "oldest format",
        _UNFIT,
        r"GGUFv1 is no longer supported",
        "its format, GGUF version 1, is no longer supported",
    ),
    _row(
        "format version",
        _CORRUPT,
        r"bad GGUF version: (?P<version>\d+)",
        "it says that its format has version {version}",
    ),
    _row(
        "byte order",
        _UNFIT,
        r"mismatch between the host and model endianness",
        "it was made for machines of the other byte order (big-endian)",
    ),
    _row(
        "truncated data",
        _CORRUPT,
        r"tensor '(?P<tensor>[^']+)' data is not within the file bounds",
        "it is cut short: tensor {tensor} lies beyond its end",
    ),
    _row(
        "counts",
        _CORRUPT,
        r"number of (?P<what>tensors|key value pairs) is (?P<count>\d+) but must be",
        "its header speaks of {count} {what}",
    ),
    _row(
        "string length",
        _CORRUPT,
        r"string length (?P<length>\d+) exceeds maximum",
        "its metadata holds a text of an impossible length",
    ),
    _row(
        "metadata type",
        _CORRUPT,
        r"key '(?P<key>[^']+)' has invalid GGUF type (?P<type>\d+)",
        "its metadata {key} has the impossible type {type}",
    ),
    _row(
        "tensor type",
        _UNFIT,
        r"tensor '(?P<tensor>[^']+)' has invalid ggml type (?P<type>\d+)",
        "tensor {tensor} has type {type}, which this engine does not know",
    ),
    _row(
        "tensor dimensions",
        _CORRUPT,
        r"tensor '(?P<tensor>[^']+)' has invalid number of dimensions: (?P<count>\d+)",
        "tensor {tensor} has {count} dimensions",
    ),
    _row(
        "tensor offset",
        _CORRUPT,
        r"tensor '(?P<tensor>[^']+)' has offset (?P<found>\d+), expected (?P<right>\d+)",
        "tensor {tensor} stands at {found} and not at {right}",
    ),
    _row(
        "tensor twice",
        _CORRUPT,
        r"duplicate tensor name '(?P<tensor>[^']+)'",
        "tensor {tensor} is in it twice",
    ),
    _row(
        "tensor values",
        _CORRUPT,
        r"tensor '(?P<tensor>[^']+)' has invalid data",
        "tensor {tensor} holds values that are no numbers",
    ),
    _row(
        "tensor missing",
        _CORRUPT,
        r"tensor '(?P<tensor>[^']+)' not found",
        "tensor {tensor} is not in it",
    ),
    _row(
        "tensor shape",
        _CORRUPT,
        r"tensor '(?P<tensor>[^']+)' has wrong shape",
        "tensor {tensor} has the wrong shape",
    ),
    _row(
        "architecture",
        _UNFIT,
        r"unknown model architecture: '(?P<name>[^']*)'",
        "its architecture {name} is unknown to this engine",
    ),
    _row(
        "metadata missing",
        _CORRUPT,
        r"key not found in model: (?P<key>\S+)",
        "its metadata lacks {key}",
    ),
    _row(
        "metadata unfit",
        _CORRUPT,
        r"error loading model hyperparameters: (?P<why>.+)",
        "its metadata does not fit together: {why}",
    ),
    _row(
        "layers",
        _CORRUPT,
        r"GGML_ASSERT\(hparams\.n_layer",
        "its metadata gives an impossible number of layers",
    ),
    _row(
        "vocabulary missing",
        _CORRUPT,
        r"cannot find tokenizer (?P<what>\w+) in model file",
        "its tokenizer lacks the {what}",
    ),
    _row(
        "tokenizer",
        _UNFIT,
        r"unknown tokenizer: '(?P<name>[^']*)'",
        "its tokenizer {name} is unknown to this engine",
    ),
    _row(
        "vocabulary",
        _CORRUPT,
        r"GGML_ASSERT\(id_to_token\.size\(\) == token_to_id\.size\(\)\)",
        "its vocabulary holds a token twice",
    ),
    _row(
        "metadata cut",
        _CORRUPT,
        r"failed to read (?P<what>key-value pairs|tensor info|tensor data)",
        "it ends within its {what}",
    ),
    _row("header cut", _CORRUPT, r"failed to read header", "it ends within its header"),
    # --- mistakes of the engine
    _row(
        "assertion",
        "WORKER_CRASHED",
        r"(?:^|/)(?P<file>[\w.-]+):(?P<line>\d+): GGML_ASSERT\((?P<what>.+)\) failed",
        "the engine found itself in error: {what} ({file}:{line})",
    ),
    *GPU_HINTS,
)
"""In order of precedence: the first row that knows any line of the log tells the cause."""
