# Copyright (c) 2026, The dsa110.contimg developers
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is secret, by the names that values are given and by their own form; and text with its secrets masked.

Used by everything that shows a line which was not written for it: environment files, unit files, compose files, code,
crontabs, commands of processes, journals. It masks too much rather than too little.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Found = re.Match[str]
    Finder = Callable[[str], Iterable[tuple[int, int]]]

__all__ = ["MASK", "is_secret_name", "redacted", "secrets_in"]

MASK = "********"
_SEARCHED = 4

# Parts of a name that mean a secret wherever they stand in it.
_PARTS = (
    "password|passwd|passphrase|passcode|passkey|passwort|kennwort|token|secret|credential|webhook|apikey|authorization|bearer"
    "|connectionstring|connstr"
)
_PART = re.compile(_PARTS, re.IGNORECASE)
# Words that do so as a whole, or at the name's end. Neither a band pass nor a directory of keys is a secret.
_WORDS = frozenset([
    "pass", "auth", "cookie", "cookies", "creds", "dsn", "hmac", "jwt", "mnemonic", "otp", "pat", "pgpass", "psk", "pw", "salt",
    "sas", "totp",
])  # fmt: skip
_LAST_WORDS = frozenset(["key", "pwd", "pin", "sig", "signature"])
_KEYS_OF_ROWS = frozenset(["foreign", "primary", "sort", "unique"])
_RUN_TOGETHER = re.compile(
    r"(?:admin|db|ftp|http|imap|ldap|mail|my|mysql|pg|proxy|redis|root|smtp|user)pass"
    r"|(?:alert|discord|incoming|mattermost|notify|slack|teams|zulip)hook"
    r"|(?:access|activation|pairing|pin|recovery|security|unlock|verification)code"
)
# One word of several: MQTTPASS, BINDPW, ROOTPWD, SSHKEY; but neither bypass nor OLDPWD nor monkey.
_COMPOUND = re.compile(
    r"(?!(?:all|band|bp|broad|by|com|encom|first|get|high|last|low|multi|narrow|notch|one|over|second|single|sub|sur|tres|two|under)"
    r"pass)\w{2,}pass"
    r"|(?!(?:init|last|old|orig|prev|saved?|start)pwd)\w{2,}pwd|\w{2,}pw"
    r"|(?:access|account|admin|app|auth|client|crypto?|db|decrypt(?:ion)?|deploy|encrypt(?:ion)?|fernet|gpg|hmac|jwt|licen[cs]e|login"
    r"|master|pgp|priv|private|root|rsa|server|service|session|shared|sign|signing|ssh|ssl|storage|tls|wg|wireguard)key"
)
_SPLIT = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[A-Z]+")
_ENCODINGS = frozenset(["b", "base", "base64", "b64", "hex", "file", "path", "id", "pem", "der"])

# In front of a name, also after a dash; the bound keeps the search linear.
_NAME = r"(?<!\w)(?P<name>[A-Za-z_][\w.\-]{0,80})"
_QUOTED = (
    r"\"\"\"[\s\S]*?(?:\"\"\"|\Z)|'''[\s\S]*?(?:'''|\Z)"
    r"|\"(?:[^\"\\]|\\[\s\S])*\"?|'[^']*'?"
    r"|(?P<escaped>\\+[\"'])(?:(?!(?P=escaped))[\s\S])*(?P=escaped)?"
)
# Begins in quotes: shells and Python join what follows without a blank.
_BEGINS_QUOTED = re.compile(r"[A-Za-z$]{0,2}(?:\\+)?[\"']")
_JOINED = re.compile(rf"{_QUOTED}|[^\s,;)\]}}&|\"'<>:\\]+")
_BARE = re.compile(r"(?:\\[\s\S]|,(?!\s)|[^\s,\"'\\])*")
_BARE_IN_URL = re.compile(r"[^\s,\"'\\&]*")
_OPENING = re.compile(r"[\w.$]*[(\[{]")
_BRACKET_OR_QUOTED = re.compile(rf"[()\[\]{{}}]|{_QUOTED}")
_BRACE = re.compile(r"[{}\n]")
_REST = re.compile(r"(?:[^\n\\]|\\[\s\S])*")
_BLOCK = re.compile(r"(?:[|>][\d+-]*)?[ \t]*(?:#.*)?(?=\n)")

# NAME=v, NAME: v, NAME += v, NAME == v; with a type: NAME: string = v.
_SIGN = (
    r"(?:(?:[:?+.!]|\|\||\?\?)?=[=~>]*|%3[Dd]"
    r"|:(?:[ \t]*(?:&?(?:'static )?str|[sS]tring|bytes|any|SecretStr|Optional\[\w+\])(?:[ \t]*\|[ \t]*\w+)?[ \t]*=(?![=>]))?)"
)
# A name and its value: NAME=value, name: value, "name": "value", x["name"] = "value", \"name\": \"value\".
_ASSIGNED = re.compile(rf"{_NAME}\\*[\"']?\]?\s*{_SIGN}\s*")
# The same where the value takes all of the line: environment files, unit files, YAML; also commented out.
_LINE = re.compile(
    r"^(?P<indent>[ \t#;>+\-]*)(?:export\s+|set\s+|ENV\s+|Environment\s*=\s*)?"
    rf"(?P<quote>[\"']?){_NAME}(?P=quote)[ \t]*(?P<sign>[:?+.]?=|:)(?![ \t]*[\"'\[{{(])[ \t]*",
    re.MULTILINE,
)
# A pair within quotes: "NAME=a value".
_QUOTED_PAIR = re.compile(rf"(?P<quote>[\"']){_NAME}\s*[=:]\s*")
# A default of the shell: ${NAME-value}.
_EXPANDED = re.compile(r"\$\{!?(?P<name>[A-Za-z_]\w{0,80})(?:\[[^\]\s]{0,40}\])?:?[-=?+]")
# A default of a program: get("NAME") or "value", NAME ?? "value", add_option("--name", type=str, default="value").
_OTHERWISE = re.compile(
    rf"{_NAME}[\"']?[\])]*\s*(?:\bor\b|\|\||\?\?|\?:|\bin\s+[\w.]+\s+else\b)\s*(?=[rbuf]{{0,2}}[\"'])"
)
_DEFAULT = re.compile(rf"[\"']-{{0,2}}{_NAME}[\"']\s*,[^()]{{0,300}}?\b(?:default|fallback|initial|value)\s*=\s*")
# Any other type: NAME: Type = "value", var NAME type = "value".
_TYPED = re.compile(rf"{_NAME}\??:[ \t]*[A-Za-z_&][\w.<>\[\]|&', ]{{0,60}}?[ \t]*=[ \t]*(?=[rbuf]{{0,2}}[\"'])")
_TYPED_AFTER = re.compile(rf"\b(?:var|const)\s+{_NAME}[ \t]+[\w.*&\[\]]{{1,40}}[ \t]*=[ \t]*")
# Several names and their values.
_TARGETS = re.compile(
    r"^[ \t]*\(?(?P<name>[\w.]{1,80}(?:[ \t]*,[ \t]*\*?[\w.]{1,80}){1,20})\)?[ \t]*=(?!=)[ \t]*", re.MULTILINE
)
_INSERTED = re.compile(r"\bINTO\s+[^\s(]{1,200}\s*\((?P<name>[^()]{1,1000})\)\s*VALUES\s*(?=\()", re.IGNORECASE)
# A field that holds the name, and one that holds the value: name: NAME, value: v; <add key="NAME" value="v"/>.
_FIELD = re.compile(
    r"(?:name|Name|NAME|key|Key|KEY|variable|Variable|id|Id|ID|var|VAR|env|ENV|option|param)\\{0,4}[\"']?\s*[=:]\s*\\{0,4}[\"']?"
    rf"{_NAME}\\{{0,4}}[\"']?(?:(?!(?i:\b(?:name|key)\b))[^{{}}<>]){{0,300}}?(?<!\w)\\{{0,4}}[\"']?"
    r"(?P<field>(?i:\w{0,20}value|default))\\{0,4}[\"']?[ \t]*[=:][ \t]*"
)
_ELEMENTS = re.compile(rf">\s*{_NAME}\s*</[\w.]{{1,40}}>\s*<\w{{0,20}}[vV]alue[^<>]{{0,80}}>")
_SET_BY_CALL = re.compile(
    r"(?<!\w)(?P<name>(?i:set_?)\w{1,60}|(?i:(?:OLD_)?PASSWORD)|Secret(?:Str|Bytes))\(\s*(?=[rbuf]{0,2}[\"'])"
)
# A word beside a name is its value; but not what follows a program of that name, or continues a sentence or an expression.
_OPTION = re.compile(
    rf"(?<!\w)(?!\w*passwd[ \t]+-){_NAME}[ \t]+(?:is[ \t]+)?"
    r"(?!(?:(?i:and|by|for|from|in|not|of|on|or|to|with)|[|&<>!?+\-*/]{1,2}=?)(?=\s|\Z))(?=[^\s=:])"
)
_KEYWORD = "(?:action|cast|default|dest|envvar|fallback|help|initial|is_flag|metavar|nargs|prompt|required|type|value)"
# Two members of a list, or two arguments: "--password", "value"; getenv("NAME", "value").
_PAIR = re.compile(rf"[\"']-{{0,2}}{_NAME}[\"']\s*,\s*(?!{_KEYWORD}\s*=)(?=\S)")
_ELEMENT = re.compile(rf"<{_NAME}(?:\s[^<>]*)?>")
# Options that are a password for some programs only.
_OF_PROGRAM = re.compile(
    r"\b(?:(?:mysql|mariadb)[\w-]*\b@\s-p|sshpass\b@\s-p\s*|redis-cli\b@\s-a\s*|ldap\w+\b@\s-w\s*"
    r"|7z[ar]?\b@\s-p|(?:un)?zip\b@\s-P\s*|ipmitool\b@\s-P\s*|mongo\w*\b@\s-p\s*|openssl\s+enc\b@\s-[kK]\s*"
    r"|(?:docker|podman|buildah|skopeo|helm|nerdctl)\s[^\n|]{0,40}?\blogin\b[^\n|]{0,120}?\s-p[ =]*"
    r"|htpasswd\b@\s-(?=[A-Za-z]*b)(?:[A-Za-z]*n[A-Za-z]*\s+|[A-Za-z]+\s+(?:-\S+\s+)*\S+\s+)\S+\s+"
    r")(?=[^\s-])".replace("@", r"[^\n|]{0,1000}?")
)
_USER = re.compile(r"(?:(?<!\S)|(?<=[\"'=]))(?:-[uU]|--user|--proxy-user)[ =]?[\"']?[^\s:\"'/]+:(?!\d+\b)(?=\S)")
_QUERIED = re.compile(r"(?<=[?&])(?:sig|signature|key|hmac)=")
_LOGIN = re.compile(
    r"(?<!\w)(?:login|authenticate|\w{0,20}BasicAuth)\(\s*(?:\"[^\"\n]*\"|'[^'\n]*'|[\w.]+)\s*,\s*(?=[\"'])"
)
_SET_IN_SQL = re.compile(r"\b(?:SET\s+PASSWORD(?:\s+FOR\s+\S+)?|PRAGMA\s+(?:re)?key)\s*=\s*", re.IGNORECASE)
_IDENTIFIED = re.compile(r"\bIDENTIFIED\s+(?:WITH\s+\S+\s+)?(?:BY|AS)\s+", re.IGNORECASE)

_KEY_BLOCK = re.compile(
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY[A-Z ]*-----(?P<value>[\s\S]*?)(?:-----END [A-Z0-9 ]*-----|\Z)"
)
_BEARER = re.compile(r"\b(?:Bearer|Basic|Digest)\s+(?P<value>[A-Za-z0-9+/=._~-]{4,})", re.IGNORECASE)
_TO_SUDO = re.compile(r"\becho\s+(?:-\w+\s+)*(?P<value>[^\s|][^\n|]{0,200}?)\s*\|\s*sudo\s+-\w*S")
# Up to the last @ before the path; a password may hold a slash where no number of a port is.
_USER_IN_URL = re.compile(r"://(?P<value>[^/\s\"'<>]*(?=@)|[^/\s\"'<>@:]+:(?!\d+/)[^\s\"'<>@]*(?=@))")
_WEBHOOK_URL = re.compile(
    r"://(?:hooks\.[^/\s]+|[^/\s]+/(?:api/)?(?:web)?hooks?)/(?P<value>[^\s\"'<>,;)]+)", re.IGNORECASE
)
# Tokens that their issuers mark: Slack, GitHub, GitLab, AWS, JSON Web Tokens, Stripe and others, Google, SendGrid.
_MARKED = re.compile(
    r"\b(?P<value>xox[a-z]-[\w-]{8,}|xapp-[\w-]{8,}|gh[a-z]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|A[KS]IA[A-Z0-9]{16}"
    r"|eyJ[\w-]{8,}\.[\w-]+\.[\w-]*|[spr]k[-_][\w-]{16,}|AIza[\w-]{20,}|SG\.[\w-]{16,}\.[\w-]+|npm_\w{20,}|hf_\w{20,})"
)


@functools.lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Return whether a value of this name must not be shown: an environment variable, a key, an option."""
    plain = re.sub(r"[\W_]", "", name)
    words = [word.lower() for word in _SPLIT.findall(name)]
    while len(words) > 1 and words[-1] in _ENCODINGS:
        words.pop()
    return (
        bool(_PART.search(plain))
        or not _WORDS.isdisjoint(words)
        or (len(words) > 1 and words[-1] in _LAST_WORDS and words[-2] not in _KEYS_OF_ROWS)
        or any(map(_COMPOUND.fullmatch, words))
        or name in ("pwd", "Pwd")  # of connection strings; PWD is the working directory
        or bool(_RUN_TOGETHER.search(plain.lower()))
    )


def redacted(text: str, secrets: Iterable[str] = ()) -> str:
    """Return text in which secrets are masked. It has as many lines as before.

    :param secrets: values that are known to be secret. They are masked wherever they stand.
    """
    for secret in sorted(set(secrets) - {""}, key=len, reverse=True):
        text = text.replace(secret, _mask(secret))
    return "".join(_pieces(text))


def secrets_in(text: str) -> set[str]:
    """Return the values that :func:`redacted` masks in a text, but those so short that they stand elsewhere by chance."""
    found = {text[start:end].strip("\"'") for start, end in _spans(text)}
    return {one for one in found if len(one) >= _SEARCHED and MASK not in one}


def _mask(value: str) -> str:
    return MASK + f"\n{MASK}" * value.count("\n")


def _pieces(text: str) -> Iterator[str]:
    """Yield a text in pieces, masks in place of secrets. All are found in the text as it is: no mask hides the name of another."""
    done = 0
    for start, end in _spans(text):
        if start >= done:
            yield text[done:start]
            yield _mask(text[start:end])
        elif end > done:
            yield _mask(text[done:end])[len(MASK) :]
        done = max(done, end)
    yield text[done:]


def _spans(text: str) -> list[tuple[int, int]]:
    """Return where the secrets of a text are, in order; some may overlap.

    A word that is part of a secret is not the name of what follows it: in ``--token=a-secret /x`` the path is none.
    """
    found = sorted(span for find in _FINDERS for span in find(text))
    ends = list(itertools.accumulate((end for _start, end in found), max))
    starts = [start for start, _end in found]
    for find in _BESIDE:
        for start, end in find(text):
            name_end = _last(text, start) + 1
            before = bisect.bisect_left(starts, name_end) - 1
            if before < 0 or ends[before] < name_end:
                found.append((start, end))
    return sorted(found)


def _last(text: str, end: int) -> int:
    """Return where the last character of a name stands before an offset."""
    while end and text[end - 1] in " \t\r\n\"',":
        end -= 1
    return end - 1


def _by_form(pattern: re.Pattern[str]) -> Finder:
    """Return what finds values that are secret by their own form."""
    return lambda text: (found.span("value") for found in pattern.finditer(text) if found["value"])


def _by_name(pattern: re.Pattern[str], end: Callable[[str, Found], int]) -> Finder:
    """Return what finds values behind what a pattern matches, where the name that it matches is that of a secret."""

    def find(text: str) -> Iterator[tuple[int, int]]:
        found = pattern.search(text)
        while found:
            position = found.end("name") if pattern.groupindex else found.end()
            if not pattern.groupindex or any(map(is_secret_name, found["name"].split(","))):
                position = end(text, found)
                if position > found.end():
                    yield found.end(), position
            found = pattern.search(text, max(position, found.start() + 1))

    return find


def _end_of_value(text: str, found: Found) -> int:
    """Return the end of a value that stands among others."""
    start = end = found.end()
    if _BEGINS_QUOTED.match(text, start):
        joined = _JOINED.match(text, end)
        while joined:
            end = joined.end()
            joined = _JOINED.match(text, end)
        return end
    opening = _OPENING.match(text, start)
    if opening:
        return _end_of_brackets(text, opening.end() - 1)
    bare = _BARE_IN_URL if text[max(0, found.start() - 1) : found.start()] in ("?", "&") else _BARE
    whole = bare.match(text, start)
    return whole.end() if whole else start


def _end_of_brackets(text: str, start: int) -> int:
    """Return where a bracket is closed, the end of the line where it never is."""
    depth = 0
    for found in _BRACKET_OR_QUOTED.finditer(text, start):
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(found.group(), 0)
        if depth == 0:
            return found.end()
    end = text.find("\n", start)
    return len(text) if end < 0 else end


def _end_of_line(text: str, found: Found) -> int:
    """Return the end of a value that takes the rest of its line, and the lines below that are indented further."""
    whole = _REST.match(text, found.end())
    end = whole.end() if whole else found.end()
    return _end_of_block(text, found.end(), end, indent=len(found["indent"])) if found["sign"] == ":" else end


def _end_of_block(text: str, start: int, end: int, *, indent: int) -> int:
    """Return the end of a value of YAML: that of its line, or of the lines below it that are indented further."""
    if not text.startswith("\n", end):
        return end
    block = _BLOCK.fullmatch(text, start, end) or _BLOCK.match(text, start)
    nested = re.compile(rf"(?:\n(?:[ \t]*|[ \t]{{{indent + 1},}}\S.*|[ \t]{{{indent}}}- .*)(?=\n|\Z))*")
    below = nested.match(text, end) if block else None
    return below.end() if below else end


def _end_of_field(text: str, found: Found) -> int:
    """Return the end of the value of a field: among others, or on a line of its own."""
    start = found.start("field")
    before = text[text.rfind("\n", 0, start) + 1 : start]
    if before.strip(" \t-") or _BEGINS_QUOTED.match(text, found.end()) or _OPENING.match(text, found.end()):
        return _end_of_value(text, found)
    whole = _REST.match(text, found.end())
    end = whole.end() if whole else found.end()
    return _end_of_block(text, found.end(), end, indent=len(before))


def _end_of_expansion(text: str, found: Found) -> int:
    """Return where a brace is closed, at most the end of the line."""
    depth = 1
    for one in _BRACE.finditer(text, found.end()):
        depth += {"{": 1, "}": -1}.get(one.group(), 0)
        if depth == 0 or one.group() == "\n":
            return one.start()
    return len(text)


def _end_of_values(text: str, found: Found) -> int:
    """Return the end of a statement that assigns several values."""
    start = found.end()
    closed = _end_of_brackets(text, start) if text.startswith(("(", "[", "{"), start) else start
    whole = _REST.match(text, closed)
    return whole.end() if whole else closed


def _end_of_quote(text: str, found: Found) -> int:
    """Return where the quote is closed in which a pair stands."""
    quote = found["quote"]
    end = found.end()
    while end < len(text) and text[end] not in (quote, "\n"):
        end += 2 if text[end] == "\\" else 1
    return min(end, len(text))


def _end_of_element(text: str, found: Found) -> int:
    end = text.find("<", found.end())
    return len(text) if end < 0 else end


_FINDERS = (
    *map(_by_form, (_KEY_BLOCK, _USER_IN_URL, _WEBHOOK_URL, _MARKED, _BEARER, _TO_SUDO)),
    _by_name(_LINE, _end_of_line),
    _by_name(_QUOTED_PAIR, _end_of_quote),
    _by_name(_EXPANDED, _end_of_expansion),
    _by_name(_TARGETS, _end_of_values),
    _by_name(_FIELD, _end_of_field),
    *(_by_name(one, _end_of_element) for one in (_ELEMENT, _ELEMENTS)),
    *(
        _by_name(one, _end_of_value)
        for one in (_ASSIGNED, _TYPED, _TYPED_AFTER, _OTHERWISE, _DEFAULT, _INSERTED, _SET_BY_CALL)
    ),
    *(_by_name(one, _end_of_value) for one in (_OF_PROGRAM, _USER, _IDENTIFIED, _QUERIED, _LOGIN, _SET_IN_SQL)),
)
# A name and its value are only words beside each other.
_BESIDE = tuple(_by_name(one, _end_of_value) for one in (_PAIR, _OPTION))
