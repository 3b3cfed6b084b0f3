"""gdb: the green threads of a process.

    (gdb) source tools/gdb-gthread.py
    (gdb) info gthreads          # number, name, state, and where it is suspended
    (gdb) gthread 7              # the calls of thread 7, or of the one with that name
    (gdb) gthread 7 info locals  # any command, as if thread 7 were the selected one

Needs no debug information of gthread: two tables in the program, GTHREAD_STACKS and GTHREAD_TASKS, say where the
stacks are and what lies where in a control block. For the calls to have names and lines the program needs the
usual debug information.

`gthread` sets the registers of the selected OS thread to what the green thread saved when it suspended, runs the
command, and sets them back: a live process is needed for it, and a process that is stopped; a core file will do
for `info gthreads`. A green thread that runs has saved none: its calls are those of its OS thread.
"""

import contextlib
import re
import struct

import gdb

WORD = 8

# The join word (rt/src/task/join_state.rs) and the word of waiting (rt/src/task/wait_state.rs).
DONE, REFERENCE = 1, 16
PHASE, PARKED, HELD = 0b11, 2, 1 << 3


@contextlib.contextmanager
def in_c():
    """Expressions are C's meanwhile, whatever the selected frame's language is."""
    before = gdb.parameter("language")
    gdb.execute("set language c", to_string=True)
    try:
        yield
    finally:
        gdb.execute("set language " + before, to_string=True)


class Words:
    """Reads the process's memory, word by word."""

    def __init__(self):
        self.inferior = gdb.selected_inferior()

    def read(self, address, count):
        bytes_ = self.inferior.read_memory(address, WORD * count).tobytes()
        return struct.unpack("<%dQ" % count, bytes_)

    def word(self, address):
        return self.read(address, 1)[0]

    def try_word(self, address):
        """None where nothing is mapped, or the core has nothing."""
        try:
            return self.word(address)
        except gdb.MemoryError:
            return None

    def text(self, address, length):
        return self.inferior.read_memory(address, length).tobytes().decode(errors="replace")


def symbol(name):
    try:
        with in_c():
            return int(gdb.parse_and_eval("(unsigned long)&" + name))
    except gdb.error:
        raise gdb.GdbError("no %s: is gthread in this program, and the program loaded?" % name)


class Slots:
    """The chunks that stacks are cut from (stacks/src/map.rs)."""

    def __init__(self, words):
        table = symbol("GTHREAD_STACKS")
        count = words.word(table)
        places = words.read(table + WORD, 4 * count)
        places = [places[at : at + 4] for at in range(0, len(places), 4)]
        self.chunks = [place for place in places if place[0] and place[3]]

    def __iter__(self):
        """(bottom, size) of every slot."""
        for start, length, size, stride in self.chunks:
            for bottom in range(start, start + length - size + 1, stride):
                yield bottom, size

    def contain(self, address):
        return any(start <= address < start + length for start, length, *_ in self.chunks)


class Thread:
    """A green thread that has not ended."""

    def __init__(self, number, name, state, saved):
        self.number, self.name, self.state, self.saved = number, name, state, saved


def threads():
    words = Words()
    slots = Slots(words)
    layout = words.read(symbol("GTHREAD_TASKS"), 10)
    version, size, join, wait, fiber, fiber_size, number, name, colours, step = layout
    if version != 3:
        raise gdb.GdbError("this script knows layout 3, not %d: take the one of that gthread" % version)
    in_use = stack_pointers()
    for bottom, slot_size in slots:
        colour = (bottom // slot_size) % colours * step
        block = bottom + slot_size - colour - size
        joined = words.try_word(block + join)
        if not joined or joined & DONE or joined < REFERENCE:
            continue
        saved, started = stack_pointer(words, slots, block + fiber, fiber_size, bottom, block)
        phase = words.word(block + wait) & (PHASE | HELD)
        if saved is None or any(bottom <= place < bottom + slot_size for place in in_use):
            state = "running"
        elif not started:
            state = "new"
        else:
            state = "parked" if phase in (PARKED, HELD) else "runnable"
        yield Thread(words.word(block + number), name_of(words, block + name), state, saved)


def stack_pointers():
    """Of all OS threads: whose stack one of them uses runs, also if its fiber does not say so, which it need not in
    optimised code."""
    selected = gdb.selected_thread()
    places = []
    with in_c():
        for thread in gdb.selected_inferior().threads():
            thread.switch()
            places.append(int(gdb.parse_and_eval("(unsigned long)$sp")))
    if selected is not None:
        selected.switch()
    return places


def name_of(words, place):
    """An optional boxed text: a pointer and a length, in either order; a null pointer if there is none."""
    one, other = words.read(place, 2)
    address, length = (one, other) if one > other else (other, one)
    if address == 0 or length == 0 or length > 4096:
        return None
    try:
        return words.text(address, length)
    except gdb.MemoryError:
        return None


def stack_pointer(words, slots, fiber, size, bottom, block):
    """Returns the stack pointer that a fiber has saved, None while it runs; and whether the fiber has ever run.

    With the feature `fast-switch` on x86_64 a fiber is two words: the stack pointer, and its link, below which it began
    (`switch_x86_64.rs`). Otherwise it is a coroutine of corosensei's. Of its words that point into stacks, one is the
    stack's bottom, one its base, one the initial stack pointer, and one the current stack pointer, unless it runs.
    """
    if size == 2 * WORD:
        saved, link = words.read(fiber, 2)
        return saved or None, saved != link - 4 * WORD
    inside = [word for word in words.read(fiber, size // WORD) if slots.contain(word)]
    if bottom in inside:
        inside.remove(bottom)
    own = sorted(word for word in inside if bottom <= word <= block)
    foreign = [word for word in inside if not bottom <= word <= block]
    if len(own) < 2:
        return None, False
    base, initial = own[-1], own[-2]
    if foreign:
        # On a temporary stack.
        return foreign[0], True
    if len(own) < 3:
        return None, True
    return own[0], own[0] != initial


class Registers:
    """What a suspended fiber has saved, on the processor at hand: the same by whatever it was switched."""

    def __init__(self, saved):
        words = Words()
        architecture = gdb.selected_frame().architecture().name()
        if architecture.startswith("i386:x86-64"):
            rip, rbx, rbp = words.read(saved, 3)
            self.pc = rip
            self.values = {"rip": rip, "rbx": rbx, "rbp": rbp, "rsp": saved + 3 * WORD}
            # Else the kernel would take a changed rip for the end of the system call that it is in.
            self.kept = ["orig_rax"]
        elif architecture.startswith("aarch64"):
            x19, x29, pc = words.read(saved, 3)
            self.pc = pc
            self.values = {"pc": pc, "x19": x19, "x29": x29, "sp": saved + 4 * WORD}
            self.kept = []
        else:
            raise gdb.GdbError("gthread does not run on " + architecture)


class Borrowed:
    """The registers of the selected OS thread, to be set to those of green threads, and set back at the end."""

    def __enter__(self):
        gdb.execute("select-frame 0")
        self.before = {}
        return self

    def become(self, registers):
        gdb.execute("select-frame 0")
        with in_c():
            for name in [*registers.values, *registers.kept]:
                self.before.setdefault(name, int(gdb.parse_and_eval("(unsigned long)$" + name)))
        self.set(registers.values)

    def __exit__(self, *_):
        self.set(self.before)

    @staticmethod
    def set(values):
        gdb.execute("select-frame 0")
        with in_c():
            for name, value in values.items():
                gdb.execute("set var $%s = %d" % (name, value))


# Whose functions are between a program's call and the switch.
PLUMBING = ("corosensei::", "gthread::", "gthread_arch::", "core::", "std::", "alloc::", "<", "__rust_try")
# And where those are: with line tables only, names say not of what they are.
PLUMBING_FILES = re.compile(
    r"(^|/)(rustc/[0-9a-f]+/|library/(core|std|alloc)/|corosensei-[0-9.]+/"
    r"|gthread(-arch|-stacks)?-[0-9.]+/|rt/src/|arch/src/|stacks/src/)"
)


def caller(registers, borrowed):
    """The innermost call that is not gthread's own, with its place; in a core file, only the function."""
    try:
        borrowed.become(registers)
    except gdb.error:
        return place_of(registers.pc)
    frame = gdb.newest_frame()
    for _ in range(64):
        name = frame.name() if frame is not None else None
        if name is None or "stack_init_trampoline" in name or frame.type() == gdb.SIGTRAMP_FRAME:
            break
        line = frame.find_sal()
        file = line.symtab.filename if line.symtab is not None else "?"
        if not name.startswith(PLUMBING) and not PLUMBING_FILES.search(file):
            return "%s (%s:%d)" % (name, file, line.line)
        frame = frame.older()
    return place_of(registers.pc)


def place_of(pc):
    """The function that a return address is in."""
    text = gdb.execute("info symbol %#x" % (pc - 1), to_string=True).strip()
    return text.split(" in section")[0] if " in section" in text else "%#x" % pc


class InfoThreads(gdb.Command):
    """The green threads that have not ended: number, name, state, and where they are suspended."""

    def __init__(self):
        super().__init__("info gthreads", gdb.COMMAND_STATUS)

    def invoke(self, _argument, _from_tty):
        found = sorted(threads(), key=lambda thread: thread.number)
        lines = []
        with Borrowed() as borrowed:
            for thread in found:
                name = "" if thread.name is None else " '%s'" % thread.name
                where = ""
                if thread.state in ("parked", "runnable"):
                    where = "  in " + caller(Registers(thread.saved), borrowed)
                lines.append("%6d%s  %s%s" % (thread.number, name, thread.state, where))
        print("\n".join(lines))
        print("%d green threads" % len(found))


class OneThread(gdb.Command):
    """gthread NUMBER|NAME [COMMAND]: runs a command, else `bt`, as if that green thread were selected."""

    def __init__(self):
        super().__init__("gthread", gdb.COMMAND_STACK)

    def invoke(self, argument, _from_tty):
        which, _, command = argument.strip().partition(" ")
        if not which:
            raise gdb.GdbError("gthread NUMBER|NAME [COMMAND]; `info gthreads` lists them")
        thread = next((t for t in threads() if which in (str(t.number), t.name)), None)
        if thread is None:
            raise gdb.GdbError("no green thread %s has not ended" % which)
        if thread.state not in ("parked", "runnable"):
            raise gdb.GdbError("green thread %s is %s" % (which, thread.state))
        with Borrowed() as borrowed:
            borrowed.become(Registers(thread.saved))
            gdb.execute(command or "bt")


InfoThreads()
OneThread()
