/* scenario.h — which conformance scenarios a test proves. The statements are read by tests/conformance.py, which makes
 * the table in docs/conformance.md of them; in a run they print their ids, so that a log shows what was reached.
 *   HELD("CS-11 CS-12")                   the scenario holds as written
 *   REPLACED("CS-40", "the rule in words")      another rule stands in its place, and that one is what the test shows
 * The level of a row is the file's: test_store_* the view, test_engine_* kvspic.h, those under pic/ pic.h. */
#ifndef KVS_TESTS_SCENARIO_H
#define KVS_TESTS_SCENARIO_H

#include <stdio.h>

#define HELD(ids) ((void)printf("held %s\n", (ids)))
#define REPLACED(ids, rule) ((void)printf("replaced %s: %s\n", (ids), (rule)))

#endif
