"""C sources keep their layers and their size. Goal: the core stays threadless and readable through every change.

Each rule is first shown to catch a bad example, then applied to the tree.
"""

import pytest
from tidy import c_code, c_rules, engine_rules
from tidy.project import entries, limited, report, sources


@pytest.fixture(scope="module")
def tree():
    return sources(".c", ".h", under="csrc/")


@pytest.fixture(scope="module")
def code(tree):
    return limited(tree | sources(".c", ".h", under="tests/native/"))


def lines(count: int) -> str:
    return "\n".join("    x++;" for _ in range(count))


# What each rule catches: rule, sources with one fault, words of the finding.
BAD = [
    (c_rules.layering, {"csrc/base/a.h": '#include "engine/b.h"\n', "csrc/engine/b.h": ""}, "base must not include"),
    (c_rules.layering, {"csrc/media/a.c": '#include "store/b.h"\n', "csrc/store/b.h": ""}, "media must not include"),
    (c_rules.layering, {"csrc/engine/a.c": '#include "pic.h"\n', "csrc/pic/pic.h": ""}, "is no file of csrc"),
    (c_rules.layering, {"csrc/engine/a.c": '#include "pic/p.h"\n', "csrc/pic/p.h": ""}, "csrc/engine must not include"),
    (c_rules.layering, {"csrc/store/a.c": '#include "host/h.h"\n', "csrc/host/h.h": ""}, "csrc/store must not include"),
    (c_rules.layering, {"csrc/store/a.c": '#include "../host/h.h"\n', "csrc/host/h.h": ""}, "is no file of csrc"),
    (c_rules.core_headers, {"csrc/base/a.c": "/* x\n */\n#include <stdlib.h>\n"}, "a.c:3: the core must not"),
    (c_rules.core_headers, {"csrc/engine/a.c": "#  include <pthread.h>\n"}, "<pthread.h>"),
    (c_rules.core_headers, {"csrc/include/a.h": "#include <Python.h>\n"}, "<Python.h>"),
    (c_rules.core_calls, {"csrc/store/a.c": "int f()\n{\n    p = malloc (3);\n}\n"}, "a.c:3: the core must not call"),
    (c_rules.core_calls, {"csrc/base/a.c": "#define NOW \\\n 1\nint t = time(0);\n"}, "a.c:3: the core must not call"),
    (c_rules.core_calls, {"csrc/engine/a.c": "pthread_mutex_lock(&m);\n"}, "pthread_mutex_lock"),
    (c_rules.locks, {"csrc/store/a.c": "host->lock(host->ctx, lock);\n"}, "only csrc/engine"),
    (c_rules.locks, {"csrc/machine/a.c": "kvs_host_unlock(host);\n"}, "only csrc/engine"),
    (c_rules.file_length, {"a.c": "\n" * 801}, "801 lines"),
    (c_rules.line_length, {"a.c": "x" * 121}, "121 characters"),
    (c_rules.line_length, {"a.c": "int a; \n"}, "blanks"),
    (c_rules.line_length, {"a.c": "\tint a;\n"}, "tab"),
    (c_rules.function_length, {"a.c": "int f(void)\n{\n" + lines(68) + "\n}\n"}, "f has 71 lines"),
    (c_rules.parameters, {"a.c": "int f(int a, int b, int c, int d, int e, int (*g)(int, int), int h) {}"}, "f has 7"),
    (c_rules.nesting, {"a.c": "int f(void) { if (a) for (;;) while (b) { switch (c) { default: d(); } } }"}, "nests 4"),
    (c_rules.file_top, {"a.c": "int a;\n"}, "no comment"),
    (engine_rules.placed, {"csrc/engine/new.c": ""}, "new.c has no layer"),
    (engine_rules.included, {"csrc/engine/ledger.c": '#include "engine/uploads.h"\n'}, "ledger.c:1: a file of layer"),
    (engine_rules.touched, {"csrc/engine/read.c": "int f()\n{\n    g(stream->packer.is_ended);\n}\n"}, "read.c:3"),
    (engine_rules.counted, {"csrc/engine/put.c": "int f()\n{\n    m->metrics.frames_put++;\n}\n"}, "put.c:3: only"),
    (
        engine_rules.called,
        {"csrc/engine/ledger.c": "void f(int a)\n{\n    g(a);\n}\n", "csrc/engine/put.c": "void g(int a)\n{\n}\n"},
        "calls g of the higher layer packer",
    ),
    (
        engine_rules.called,
        {
            "csrc/engine/ack.c": "void f(int a)\n{\n    g(a);\n}\n",
            "csrc/engine/gate.c": "void g(int a)\n{\n    f(a);\n}\n",
        },
        "in a ring",
    ),
]


@pytest.mark.parametrize(("rule", "texts", "words"), BAD)
def test_a_rule_catches_a_bad_example(rule, texts, words):
    findings = rule(texts)
    assert len(findings) == 1
    assert words in findings[0]


# What looks like a fault and is none.
GOOD = [
    (c_rules.layering, {"csrc/engine/a.c": '#include "store/b.h"\n', "csrc/store/b.h": ""}),
    (c_rules.layering, {"csrc/base/a.c": '#include "kvspic.h"\n', "csrc/include/kvspic.h": ""}),
    (c_rules.layering, {"csrc/store/a.c": '/* #include "engine/b.h" */\n', "csrc/engine/b.h": ""}),
    (c_rules.core_headers, {"csrc/host/a.c": "#include <pthread.h>\n", "csrc/base/b.c": "#include <stdint.h>\n"}),
    (c_rules.core_calls, {"csrc/base/a.c": '/* malloc(3) */ host->free(p); void (*free)(void *p); s = "time(0)";\n'}),
    (c_rules.core_calls, {"csrc/base/a.c": "kvs_time(0); frame_free(p);\n", "csrc/host/a.c": "p = malloc(3);\n"}),
    (c_rules.locks, {"csrc/engine/a.c": "host->lock(ctx, l);\n", "csrc/store/b.c": "block(1); /* lock(x) */\n"}),
    (c_rules.function_length, {"a.c": "int f(void)\n{\n" + lines(67) + "\n}\n"}),
    (c_rules.parameters, {"a.c": "int f(int a, int b, int c, int d, int e, int (*g)(int, int))\n{\n}\n"}),
    (c_rules.nesting, {"a.c": "void f(void) { if (a) { } else if (b) { } else if (c) { } else if (d) { } else { } }"}),
    (c_rules.nesting, {"a.c": "void f(void) { struct a b = { { { { 1 } } } }; { { { { c(); } } } } }"}),
]


@pytest.mark.parametrize(("rule", "texts"), GOOD)
def test_a_rule_passes_a_good_example(rule, texts):
    assert rule(texts) == []


FUNCTIONS = """
static const struct edge { int next; } TABLE[2] = { [A] = { GO(B) }, [C] = { 2 } };
enum kvs_e { A, B };
#define LOOP(x) \\
    for (;;) {
extern "C" {
static inline int first(void) { return '{'; }
__attribute__((noinline)) struct edge *second(struct edge *edge,
                                              int a)
{
    const char *text = "}}";  // }
    do {
        if (a) a--;
    } while (a);
out:
    FOR_EACH(item, edge) { switch (a) { case B: if (a) return 0; } }
    return edge;
}
}
int declared(int a);
int last(a_type a) { return (struct edge){ 1 }.next; }
"""


def test_functions_are_found_between_types_tables_and_macros():
    found = [(f.name, f.line, f.length, f.parameter_count, f.nesting) for f in c_code.functions(FUNCTIONS)]
    assert found == [("first", 7, 1, 0, 0), ("second", 8, 11, 2, 3), ("last", 21, 1, 1, 0)]


def test_csrc_has_the_folders_of_the_map(tree):
    unknown = {c_rules.layer(path) for path in tree} - set(c_rules.MAY_INCLUDE)
    report([f"csrc/{name} has no layer. Put it into docs/architecture.md and into MAY_INCLUDE." for name in unknown])


@pytest.mark.parametrize(
    "rule",
    [engine_rules.placed, engine_rules.included, engine_rules.touched, engine_rules.counted, engine_rules.called],
)
def test_layers_of_the_engine(rule, tree):
    report(rule(tree))


@pytest.mark.parametrize("rule", [c_rules.layering, c_rules.core_headers, c_rules.core_calls, c_rules.locks])
def test_layers(rule, tree):
    report(rule(tree))


@pytest.mark.parametrize(
    "rule", [c_rules.file_length, c_rules.line_length, c_rules.function_length, c_rules.nesting, c_rules.file_top]
)
def test_limits(rule, code):
    report(rule(code))


def test_limit_of_parameters(code):
    excepted = {name for name in entries("many_parameters.txt") if "." not in name}
    ours = {path: text for path, text in code.items() if not path.startswith("csrc/pic/")}
    report(c_rules.parameters(ours, excepted))
