"""Reads the disassembly of objects: innermost loops, and what they do with their sums.

A loop is a jump back to an instruction of the same function, innermost where no other one is
inside. Its sums are the vector registers that nothing in it writes but additions onto themselves,
fused or not: so the loop over k of a matrix product is found by what it does, whatever the names
of functions, the tiles and the lengths of loops are. Instructions of 64-bit ARM are first said in
those of x86-64.
"""

import re
import subprocess
from dataclasses import dataclass, field

FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
INSTRUCTION = re.compile(r"^ *([0-9a-f]+):\t(?:\{\w+\} )?(\S+)\s*(.*)$")
VECTOR = re.compile(r"%[xyz]mm\d+")
FUSED = re.compile(r"vfn?m(add|sub)(132|213|231)(p[sd])$")
ADDS = re.compile(r"v?(add|sub)(p[sd])$")
MULTIPLIES = re.compile(r"v?mul(p[sd])$")
# These read the register that AT&T syntax names last.
ONLY_READ = re.compile(r"v?(u?comis[sd]|ptest|test[ps][sd])$")
ARM_VECTOR = re.compile(r"\{?\b[vqds](\d+)\b(?:\.\d*([bhsd]))?(?:\[\d+\])?\}?")
ARM_NAMES = {"fmla": "vfmadd231p", "fmls": "vfnmadd231p", "fmul": "vmulp", "fadd": "vaddp"}
ARM_JUMP = re.compile(r"(b|b\.\w+|cbn?z|tbn?z)$")


@dataclass(frozen=True)
class Instruction:
    """One instruction: operands in the order of AT&T syntax, the target last."""

    address: int
    name: str
    operands: tuple

    @property
    def writes(self):
        """Return the vector register that it sets, by its number, or None."""
        last = self.operands[-1] if self.operands else ""
        found = VECTOR.match(last)
        return number(found[0]) if found and not ONLY_READ.match(self.name) else None

    @property
    def jumps_to(self):
        """Return where a jump goes, or None."""
        if not self.name.startswith("j") or not self.operands:
            return None
        found = re.match(r"(?:0x)?([0-9a-f]+)\b", self.operands[0])
        return int(found[1], 16) if found else None


def number(register):
    """Return the number of a vector register: xmm3, ymm3 and zmm3 are one."""
    return int(re.search(r"mm(\d+)", register)[1])


def split(operands):
    """Split at the commas that are not inside of parentheses; comments and masks go."""
    operands = re.sub(r"\s*[<#].*$", "", operands)
    parts = re.split(r",(?![^(]*\))", operands) if operands else []
    return tuple(re.sub(r"\{[^}]*\}", "", part).strip() for part in parts)


def from_arm(name, text):
    """Return name and operands of the instruction of x86-64 that does as much."""
    vector = ARM_VECTOR.match(text)
    if vector and vector[2] and name in ARM_NAMES:
        name = ARM_NAMES[name] + vector[2]
    text = re.sub(r"\s*(//|<).*$", "", ARM_VECTOR.sub(r"%xmm\1", text)).replace("#", "")
    text = re.sub(r"\bsp\b", "%rsp", re.sub(r"\bx29\b", "%rbp", text))
    operands = split(text.replace("[", "(").replace("]", ")"))
    if ARM_JUMP.match(name):
        return "j" + name, operands[-1:]
    return name, operands if name.startswith("st") else operands[::-1]


def disassemble(path, objdump="objdump"):
    """Return the functions of an object: name to instructions."""
    told = subprocess.run(
        [objdump, "-d", "--no-show-raw-insn", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    return parse(told.stdout)


def parse(text):
    """Return the functions in a text of objdump: name to instructions."""
    arm = "file format elf64-littleaarch64" in text
    functions, current = {}, None
    for line in text.splitlines():
        if head := FUNCTION.match(line):
            current = functions.setdefault(head[1], [])
        elif (found := INSTRUCTION.match(line)) and current is not None:
            address, name, text = found.groups()
            name, operands = from_arm(name, text) if arm else (name, split(text))
            current.append(Instruction(int(address, 16), name, operands))
    return functions


@dataclass
class Loop:
    """An innermost loop of a function, and what was found in it."""

    function: str
    body: list
    frame: tuple
    fused: set = field(default_factory=set)
    separate: set = field(default_factory=set)
    stack: list = field(default_factory=list)

    def __post_init__(self):
        writers, last = {}, {}
        apart = set()  # sums to which something was added that had been multiplied before
        for instruction in self.body:
            if self._touches_the_stack(instruction):
                self.stack.append(instruction)
            register = instruction.writes
            if register is None:
                continue
            terms = [number(r) for o in instruction.operands[:-1] for r in VECTOR.findall(o)]
            if any(MULTIPLIES.match(last.get(term, "")) for term in terms):
                apart.add(register)
            last[register] = instruction.name
            writers.setdefault(register, []).append((instruction, terms))
        for register, by in writers.items():
            # Of the fused ones only the form 231 adds onto its target.
            if all((found := FUSED.match(i.name)) and found[2] == "231" for i, _ in by):
                self.fused.add(register)
            elif register in apart and all(
                ADDS.match(i.name) and (register in terms or len(i.operands) == 2)
                for i, terms in by
            ):
                self.separate.add(register)

    def _touches_the_stack(self, instruction):
        vector = any(VECTOR.search(operand) for operand in instruction.operands)
        return vector and any(
            base in operand for operand in instruction.operands for base in self.frame
        )

    @property
    def carried(self):
        """Return the places on the stack that hold fused sums from one turn to the next."""
        last, read, found = {}, set(), set()
        for instruction in self.body:
            *sources, target = instruction.operands or ("",)
            if instruction in self.stack and target.endswith(")"):
                stored = VECTOR.search(sources[0]) if sources else None
                if stored and target in read and FUSED.match(last.get(number(stored[0]), "")):
                    found.add(target)
            elif instruction in self.stack:
                read.update(source for source in sources if source.endswith(")"))
            if instruction.writes is not None:
                last[instruction.writes] = instruction.name
        return found

    @property
    def dtype(self):
        """Return the dtype of the fused sums."""
        names = {FUSED.match(i.name)[3] for i in self.body if FUSED.match(i.name)}
        return {"ps": "float32", "pd": "float64"}.get("".join(names), "mixed")

    @property
    def width(self):
        """Return the widest kind of register of the fused sums: xmm, ymm or zmm."""
        used = (o for i in self.body if FUSED.match(i.name) for o in i.operands)
        return max((r[1:4] for o in used for r in VECTOR.findall(o)), default="")

    def __str__(self):
        stack = [f"{i.name} {','.join(i.operands)}" for i in self.stack]
        return (
            f"{self.function}, the loop at {self.body[0].address:x}: {len(self.fused)} fused "
            f"sums, {len(self.separate)} separate ones, on the stack {stack}"
        )


def innermost_loops(functions):
    """Return the innermost loops of all functions."""
    loops = []
    for name, instructions in functions.items():
        place = {instruction.address: k for k, instruction in enumerate(instructions)}
        returns = {k for k, instruction in enumerate(instructions) if instruction.name == "ret"}
        ends = {}
        for k, instruction in enumerate(instructions):
            start = place.get(instruction.jumps_to)
            # A jump back over a return is from code that was moved behind it, and ends no loop.
            back = start is not None and start <= k
            if back and not returns.intersection(range(start, k)):
                ends[start] = k  # of two jumps to one place, the later
        spans = list(ends.items())
        # Where rbp points into the stack, it is read like rsp; else it is a register like others.
        framed = any(i.name == "mov" and i.operands == ("%rsp", "%rbp") for i in instructions)
        frame = ("(%rsp", "(%rbp") if framed else ("(%rsp",)
        for start, end in spans:
            inside = [s for s in spans if s != (start, end) and start <= s[0] and s[1] <= end]
            if not inside:
                loops.append(Loop(name, instructions[start : end + 1], frame))
    return loops


def product_loops(functions, least=4):
    """Return the innermost loops that add to so many sums, in registers or on the stack."""
    return [
        loop
        for loop in innermost_loops(functions)
        if len(loop.fused) + len(loop.separate) + len(loop.carried) >= least
    ]


def faults(loop):
    """Return what is wrong with the loop of a product."""
    found = []
    if loop.separate:
        found.append("it multiplies and adds apart")
    if loop.stack:
        found.append("it keeps vectors on the stack")
    return found
