"""Names of containers: reserved, released, looked up, and generated (moby, daemon/names.go and pkg/namesgenerator).

A name is reserved by creating a file of that name, which only one process can do (link(2), see `store.reserve`); its
content is the container's ID. So thirty `run` at once need no lock and get thirty names, and to find a container by its
name is to read one file.
"""

from __future__ import annotations

import time

from minirun import store
from minirun.errors import BadParameter
from minirun.light import os

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
    """Check the name of --name. Returns: it, without the leading "/" that Docker accepts.

    Errors: BadParameter unless it is a letter or digit, followed by at least one of those or "_", ".", "-".
    """
    bare = name.removeprefix("/")
    if len(bare) < 2 or bare[0] not in _ALLOWED or not _LATER.issuperset(bare):
        raise BadParameter(f"Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed")
    return bare


def generate(attempt: int = 0) -> str:
    """A random name like "curious_torvalds"; from the second attempt on with a digit after it.

    It is never "boring_wozniak": Steve Wozniak is not boring (Docker's generator leaves it out too).
    """
    moods, people = _MOODS.split(), _PEOPLE.split()
    while True:
        number = int.from_bytes(os.urandom(8), "little")
        mood, person = moods[number % len(moods)], people[number // len(moods) % len(people)]
        if (mood, person) != ("boring", "wozniak"):
            return f"{mood}_{person}{number // (len(moods) * len(people)) % 10 if attempt else ''}"


def reserve(data: str, name: str, container_id: str) -> str:
    """Reserve a name for a container, whose directory must exist already. Returns: the name.

    Arguments: data (str), the data root; name, checked, or "" to generate one; container_id (64 hex digits).
    A name whose container's directory does not exist is free: its owner was killed while it was created or removed.
    Errors: BadParameter, worded as Docker's, when another container has it.
    """
    if name:
        owner = _reserve(data, name, container_id)
        if owner:
            raise BadParameter(
                f'Conflict. The container name "/{name}" is already in use by container "{owner}". You '
                "have to remove (or rename) that container to be able to reuse that name."
            )
        return name
    for attempt in range(6):
        name = generate(attempt)
        if not _reserve(data, name, container_id):
            return name
    _reserve(data, container_id[:12], container_id)  # as Docker does after so many attempts
    return container_id[:12]


def release(data: str, name: str, container_id: str) -> None:
    """Release a name; does nothing when it is not, or no longer, this container's."""
    if owner(data, name) == container_id:
        store.discard(_path(data, name))


def release_all(data: str, container_id: str) -> None:
    """Release all names of a container whose record is missing or damaged."""
    try:
        entries = os.listdir(f"{data}/names")
    except FileNotFoundError:
        return
    for entry in entries:
        release(data, entry, container_id)


def owner(data: str, name: str) -> str:
    """The ID of the container that has a name; "" when the name is free."""
    if not name:
        return ""
    try:
        with open(_path(data, name), encoding="ascii", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return ""


def _reserve(data: str, name: str, container_id: str) -> str:
    """Reserve one name. Returns: "" on success, else the ID of its owner."""
    path = _path(data, name)
    store.make_directory(f"{data}/names")
    if store.reserve(path, container_id):
        return ""
    with store.lock(f"{data}/names.lock"):  # else two processes that clear the same stale name could reserve it both
        holder = _written_owner(data, name)
        if holder and store.exists(f"{data}/containers/{holder}"):
            return holder
        store.discard(path)
        return "" if store.reserve(path, container_id) else owner(data, name)


def _written_owner(data: str, name: str) -> str:
    """The owner of a name whose file exists; "" when its creator was killed before it wrote the ID into the file."""
    for _ in range(20):
        holder = owner(data, name)
        if holder or not store.exists(_path(data, name)):
            return holder
        time.sleep(0.01)  # created, not yet written: its creator is between two system calls
    return ""


def _path(data: str, name: str) -> str:
    """The file of a name. If it is longer than a file name may be (255 bytes, NAME_MAX), its end is hashed."""
    if "/" in name:
        raise ValueError(f"{name}: no name of a container")
    if len(name) > 200:
        from hashlib import sha256

        name = f"{name[:120]}~{sha256(name.encode()).hexdigest()}"  # no name contains "~": no other name has this file
    return f"{data}/names/{name}"
