"""Names of containers: the two-word names that Docker gives to those without one, and who has which name.

A name is taken by creating a file with it, which only one process can do (O_EXCL, open(2)); its content is the
container's ID. So thirty `run` at once need no lock and get thirty names, and finding a container by its name is
reading one file.
"""

from __future__ import annotations

import posix as os  # os without its Python half, which alone takes a tenth of `ps`
import time

from minirun import store
from minirun.errors import BadParameter

_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_LATER = _ALLOWED | frozenset("_.-")

_MOODS = """
able agile alert amber ample apt artful attentive balmy blithe bold brave breezy bright brisk buoyant busy calm candid
careful cheerful chipper civil clear clever cosy crisp curious dapper daring deft diligent droll eager earnest easy
elated fair faithful fearless festive fluent fond frank fresh friendly gallant generous gentle genial gifted glad
gleaming graceful grand hardy hearty helpful honest hopeful humble jaunty jolly jovial joyful keen kind lively lucid
lucky mellow merry mild modest neat nifty nimble noble patient peppy placid plucky poised polite prudent quick quiet
radiant ready robust serene sharp sincere smart snappy sober solid spry steady sturdy sunny tidy upbeat valiant vivid
warm wise witty zesty boring
"""
# People who found something out, or built it: mathematics, physics, chemistry, medicine, engineering; and those to whom
# we owe computers, Unix, Linux, the internet and the languages this program is written in.
_PEOPLE = """
abel adleman agnesi aiken allen ampere anning archimedes aristarchus aryabhata atanasoff avogadro babbage backus
banach bardeen baran bartik becquerel bell berners bernoulli bhabha blackwell bohr bohm boltzmann boole bose boyle
brahe brattain brooks brunel bush cantor carnot carson cauchy cavendish celsius cerf chandrasekhar chebyshev church
clarke codd cohn compton conway copernicus corbato coulomb cox cray curie dahl dalton darwin davies davisson deutsch
dijkstra diophantus dirac doppler driscoll eckert edison einstein elion engelbart eratosthenes erdos erlang estrin
euclid euler faraday feinler fermat fermi feynman fibonacci fischer fleming flowers floyd foucault fourier franklin
galileo galois galvani gauss germain goldberg goodall gosling greider hadamard haibt halley hamilton hamming heaviside
hawking heisenberg helmholtz henry herschel hertz hilbert hoare hodgkin hollerith hooke hopper huffman huygens hypatia
iverson jacobi jacobson jacquard jennings joliot joule karn karp kay kelvin kepler kernighan khayyam khwarizmi kilby
kirchhoff kleene knuth kolmogorov kovalevskaya lagrange lamarr lamport lampson landau laplace lavoisier leavitt
leeuwenhoek leibniz lejeune lerdorf licklider linnaeus liskov lorentz lovelace lyapunov markov mauchly maxwell
mccarthy mcilroy mcnulty meitner mendel mendeleev mersenne metcalfe milner minsky mirzakhani moore morris morse napier
naur newton nightingale noether noyce nygaard ohm ossanna papert pascal pasteur pauli pauling payne peano penrose
perlman planck poincare poisson postel ptolemy pythagoras rabin raman ramanujan rejewski riemann ritchie rivest
roentgen rossum rubin rutherford salk sammet schrodinger scott shamir shannon shaw shockley siemens snyder spence
stallman steinmetz stibitz stroustrup sutherland swartz tanenbaum tesla thales thompson torvalds torricelli turing
volta wall watt wescoff wiener wilkes wilkinson wirth wozniak wu yalow zuse
"""


def check(name: str) -> str:
    """A name that was asked for, without the leading "/" that Docker puts up with.

    Errors: BadParameter unless it is a letter or digit and at least one more of those or "_", ".", "-".
    """
    bare = name.removeprefix("/")
    if len(bare) < 2 or bare[0] not in _ALLOWED or not _LATER.issuperset(bare):
        raise BadParameter(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return bare


def invent(attempt: int = 0) -> str:
    """A name like "curious_torvalds"; from the second attempt on with a digit behind it.

    It is never "boring_wozniak": Steve Wozniak is not boring (Docker's generator knows it too).
    """
    moods, people = _MOODS.split(), _PEOPLE.split()
    while True:
        number = int.from_bytes(os.urandom(8), "little")
        mood, person = moods[number % len(moods)], people[number // len(moods) % len(people)]
        if (mood, person) != ("boring", "wozniak"):
            return f"{mood}_{person}{number // (len(moods) * len(people)) % 10 if attempt else ''}"


def reserve(data: str, name: str, container_id: str) -> str:
    """Take a name for a container, whose directory under `data` must be there already; returns the name.

    Arguments: data (str), the data root; name, checked, or "" for one of our own making; container_id (64 hex).
    A name whose container's directory is gone is free again: its owner was killed in the middle of its work.
    Errors: BadParameter, in Docker's words, when another container has it.
    """
    if name:
        owner = _take(data, name, container_id)
        if owner:
            raise BadParameter(
                f'Conflict. The container name "/{name}" is already in use by container "{owner}". You '
                "have to remove (or rename) that container to be able to reuse that name."
            )
        return name
    for attempt in range(6):
        name = invent(attempt)
        if not _take(data, name, container_id):
            return name
    _take(data, container_id[:12], container_id)  # Docker too gives up here
    return container_id[:12]


def release(data: str, name: str, container_id: str) -> None:
    """Give a name back; nothing happens when it is not, or no longer, this container's."""
    if owner(data, name) == container_id:
        store.discard(_path(data, name))


def release_all(data: str, container_id: str) -> None:
    """Give back whatever names a container has, for one whose record does not say."""
    try:
        entries = os.listdir(f"{data}/names")
    except FileNotFoundError:
        return
    for entry in entries:
        release(data, entry, container_id)


def owner(data: str, name: str) -> str:
    """The ID of the container that has a name; "" when nobody has it."""
    if not name:
        return ""
    try:
        with open(_path(data, name), encoding="ascii", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return ""


def _take(data: str, name: str, container_id: str) -> str:
    """Take a name: "" when it is ours now, else its owner's ID."""
    path = _path(data, name)
    store.make_directory(f"{data}/names")
    if store.reserve(path, container_id):
        return ""
    with store.lock(f"{data}/names.lock"):  # two who clear the same dead name could take it from each other
        holder = _settled_owner(data, name)
        if holder and store.exists(f"{data}/containers/{holder}"):
            return holder
        store.discard(path)
        return "" if store.reserve(path, container_id) else owner(data, name)


def _settled_owner(data: str, name: str) -> str:
    """The owner of a name that exists; "" when its creator died before it could write its ID into the file."""
    for _ in range(20):
        holder = owner(data, name)
        if holder or not store.exists(_path(data, name)):
            return holder
        time.sleep(0.01)  # created, not yet written: its creator is between two system calls
    return ""


def _path(data: str, name: str) -> str:
    """The file of a name. File systems end at 255 bytes and Docker's names do not, so a longer one is shortened."""
    if "/" in name:
        raise ValueError(f"{name}: no name of a container")
    if len(name) > 200:
        from hashlib import sha256  # some milliseconds, for a name that nobody types

        name = f"{name[:120]}~{sha256(name.encode()).hexdigest()}"  # "~" is in no name: no clash with a short one
    return f"{data}/names/{name}"
