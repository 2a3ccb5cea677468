"""Who may call: keys, roles, and how much a key may ask."""

from rbee.errors.error import Retry, Row

ROWS = (
    Row(
        code="KEY_MISSING",
        status=401,
        exit=1,
        retry=Retry.NEVER,
        says="This rbee asks for a key, and the request brings none.",
        do="Send the header Authorization: Bearer rb_… (the rbee command: RBEE_KEY); a new one: "
        "rbee keys create",
        means="Nothing was run.",
    ),
    Row(
        code="KEY_INVALID",
        status=401,
        exit=1,
        retry=Retry.NEVER,
        says="The key of this request is not one of this rbee.",
        do="Look for a slip in the key; it is shown only once, and a new one comes from: "
        "rbee keys create",
        means="Nothing was run.",
    ),
    Row(
        code="KEY_EXPIRED",
        status=401,
        exit=1,
        retry=Retry.NEVER,
        says="The key {key} expired at {expired_at}.",
        do="Whoever runs this rbee makes a new one: rbee keys create --expires 30d",
        means="Nothing was run; answers that had begun before went on to their end.",
        facts=("key", "expired_at"),
    ),
    Row(
        code="KEY_REVOKED",
        status=401,
        exit=1,
        retry=Retry.NEVER,
        says="The key {key} was revoked at {revoked_at}.",
        do="Whoever runs this rbee makes a new one: rbee keys create",
        means="Nothing was run.",
        facts=("key", "revoked_at"),
    ),
    Row(
        code="KEY_ROLE",
        status=403,
        exit=1,
        retry=Retry.NEVER,
        says="{path} needs a key with the role {role}, and {key} has not got it.",
        do="Use the rbee command on the machine itself, or a key from: "
        "rbee keys create --role {role}",
        means="Nothing was changed.",
        facts=("key", "path", "role"),
    ),
    Row(
        code="KEY_NOT_FOUND",
        status=404,
        exit=1,
        retry=Retry.NEVER,
        says="There is no key with the id {key}.",
        do="rbee keys list",
        means="Nothing was changed.",
        facts=("key",),
    ),
    Row(
        code="KEYS_DAMAGED",
        status=500,
        exit=2,
        retry=Retry.NEVER,
        says="The keys in state/keys.json cannot be read: {problem}.",
        do="Put a copy of the file back; or move it away and make new keys: rbee keys create   "
        "(rbee config show names the folder)",
        means="Nothing was started: without its keys rbee would be open to whoever reaches it.",
        facts=("problem",),
    ),
    Row(
        code="RATE_LIMITED",
        status=429,
        exit=1,
        retry=Retry.LATER,
        says="The key {key} is allowed {limit} {what}, and they are used up.",
        do="Try again in {retry_after_s} s; a key that may do more: rbee keys create",
        means="Nothing was run.",
        facts=("key", "limit", "what", "retry_after_s"),
    ),
)
