/* test_patch.c - JSON Patch (RFC 6902): the examples of its appendix A, and for each operation
 * what it has to do and to refuse, as the public conformance tests of JSON Patch cover it. In the
 * tables ' stands for ". */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/util.h"
#include "core/json_array.h"
#include "core/json_patch.h"
#include "core/ropefs.h"
#include "tests/lib/suite.h"

struct patch_case {
	const char *doc, *patch, *want; /* want NULL: refused */
};

#define OP(op, path)		  "{'op':'" op "','path':'" path "'}"
#define OP_VALUE(op, path, value) "{'op':'" op "','path':'" path "','value':" value "}"
#define OP_FROM(op, from, path)	  "{'op':'" op "','from':'" from "','path':'" path "'}"
#define ADD(path, value)	  "[" OP_VALUE("add", path, value) "]"
#define REPLACE(path, value)	  "[" OP_VALUE("replace", path, value) "]"
#define TEST(path, value)	  "[" OP_VALUE("test", path, value) "]"
#define REMOVE(path)		  "[" OP("remove", path) "]"
#define MOVE(from, path)	  "[" OP_FROM("move", from, path) "]"
#define COPY(from, path)	  "[" OP_FROM("copy", from, path) "]"

static const struct patch_case appendix_a[] = {
	{ "{'foo':'bar'}", ADD("/baz", "'qux'"), "{'foo':'bar','baz':'qux'}" },
	{ "{'foo':['bar','baz']}", ADD("/foo/1", "'qux'"),
	  "{'foo':['bar','qux','baz']}" },
	{ "{'baz':'qux','foo':'bar'}", REMOVE("/baz"), "{'foo':'bar'}" },
	{ "{'foo':['bar','qux','baz']}", REMOVE("/foo/1"), "{'foo':['bar','baz']}" },
	{ "{'baz':'qux','foo':'bar'}", REPLACE("/baz", "'boo'"),
	  "{'baz':'boo','foo':'bar'}" },
	{ "{'foo':{'bar':'baz','waldo':'fred'},'qux':{'corge':'grault'}}",
	  MOVE("/foo/waldo", "/qux/thud"),
	  "{'foo':{'bar':'baz'},'qux':{'corge':'grault','thud':'fred'}}" },
	{ "{'foo':['all','grass','cows','eat']}", MOVE("/foo/1", "/foo/3"),
	  "{'foo':['all','cows','eat','grass']}" },
	{ "{'baz':'qux','foo':['a',2,'c']}",
	  "[" OP_VALUE("test", "/baz", "'qux'") "," OP_VALUE("test", "/foo/1", "2") "]",
	  "{'baz':'qux','foo':['a',2,'c']}" },
	{ "{'baz':'qux'}", TEST("/baz", "'bar'"), NULL },
	{ "{'foo':'bar'}", ADD("/child", "{'grandchild':{}}"),
	  "{'foo':'bar','child':{'grandchild':{}}}" },
	{ "{'foo':'bar'}", "[{'op':'add','path':'/baz','value':'qux','xyz':123}]",
	  "{'foo':'bar','baz':'qux'}" },
	{ "{'foo':'bar'}", ADD("/baz/bat", "'qux'"), NULL },
	{ "{'foo':'bar'}", "[{'op':'add','path':'/baz','value':'qux','op':'remove'}]",
	  NULL },
	{ "{'/':9,'~1':10}", TEST("/~01", "10"), "{'/':9,'~1':10}" },
	{ "{'/':9,'~1':10}", TEST("/~01", "'10'"), NULL },
	{ "{'foo':['bar']}", ADD("/foo/-", "['abc','def']"),
	  "{'foo':['bar',['abc','def']]}" },
};

static const struct patch_case additions[] = {
	{ "{'arm':null}", ADD("/arm", "1"), "{'arm':1}" },
	{ "{'arm':1}", ADD("/arm", "[2]"), "{'arm':[2]}" },
	{ "[]", ADD("/0", "'a'"), "['a']" },
	{ "[]", ADD("/-", "'a'"), "['a']" },
	{ "{}", ADD("/n", "'1'"), "{'n':'1'}" },
	{ "{}", ADD("/n", "1"), "{'n':1}" },
	{ "{}", ADD("", "[]"), "[]" },
	{ "[]", ADD("", "{}"), "{}" },
	{ "7", ADD("", "'seven'"), "'seven'" },
	{ "{}", ADD("/", "1"), "{'':1}" },
	{ "{'a':{}}", ADD("/a/", "1"), "{'a':{'':1}}" },
	{ "{'a':1}", ADD("/b", "true"), "{'a':1,'b':true}" },
	{ "{'a':1}", ADD("/b", "false"), "{'a':1,'b':false}" },
	{ "{'a':1}", ADD("/b", "null"), "{'a':1,'b':null}" },
	{ "{'a':1}", ADD("/0", "2"), "{'a':1,'0':2}" },
	{ "{'a':1}", ADD("/A", "2"), "{'a':1,'A':2}" },
	{ "{'a':1,'A':2}", ADD("/A", "3"), "{'a':1,'A':3}" },
	{ "{'l':[{'x':1}]}", ADD("/l/0/y", "2"), "{'l':[{'x':1,'y':2}]}" },
	{ "['a']", ADD("/1", "'b'"), "['a','b']" },
	{ "['a','c']", ADD("/1", "'b'"), "['a','b','c']" },
	{ "['b','c']", ADD("/0", "'a'"), "['a','b','c']" },
	{ "['a','d']", ADD("/1", "['b','c']"), "['a',['b','c'],'d']" },
	{ "[1,[2,[3]]]", ADD("/1/1/-", "{'x':[4]}"), "[1,[2,[3,{'x':[4]}]]]" },
	/* no such place */
	{ "['a','b']", ADD("/3", "'d'"), NULL },
	{ "{'l':[1,2]}", ADD("/l/8", "9"), NULL },
	{ "{'l':[1,2]}", ADD("/l/-1", "9"), NULL },
	{ "['a']", ADD("/x", "1"), NULL },
	{ "['a']", ADD("/1e0", "1"), NULL },
	{ "['a']", ADD("/01", "1"), NULL },
	{ "['a']", ADD("/99999999999999999999", "1"), NULL },
	{ "{'q':{'r':2}}", ADD("/a/b", "1"), NULL },
	/* what is no container takes nothing */
	{ "{'a':'text'}", ADD("/a/b", "1"), NULL },
	{ "{'a':null}", ADD("/a/b", "1"), NULL },
	{ "{'a':5}", ADD("/a/0", "1"), NULL },
};

static const struct patch_case removals_and_replacements[] = {
	{ "{'a':1,'l':[1,2]}", REMOVE("/l"), "{'a':1}" },
	{ "{'l':[{'x':1}]}", REMOVE("/l/0/x"), "{'l':[{}]}" },
	{ "{'a':null}", REMOVE("/a"), "{}" },
	{ "[1,2,3,4]", REMOVE("/0"), "[2,3,4]" },
	{ "[1,2,3,4]", "[" OP("remove", "/1") "," OP("remove", "/2") "]", "[1,3]" },
	{ "[1,2]", REMOVE("/2"), NULL },
	{ "[1,2]", REMOVE("/1e0"), NULL },
	{ "[1,2]", REMOVE("/-"), NULL },
	{ "[1,2]", REMOVE(""), NULL },
	{ "{'a':1}", REMOVE("/b"), NULL },
	{ "{'a':1}", REMOVE("/b/c"), NULL },
	{ "{'a':'text'}", REMOVE("/a/b"), NULL },
	{ "{'l':[{'x':1}]}", REMOVE("/l/1e0/x"), NULL },
	{ "{'a':1,'b':2}", REPLACE("/a", "[3]"), "{'a':[3],'b':2}" },
	{ "{'l':[{'x':1}]}", REPLACE("/l/0/x", "2"), "{'l':[{'x':2}]}" },
	{ "[1,2]", REPLACE("/0", "0"), "[0,2]" },
	{ "['']", REPLACE("/0", "true"), "[true]" },
	{ "['']", REPLACE("/0", "false"), "[false]" },
	{ "['']", REPLACE("/0", "null"), "[null]" },
	{ "['a','b']", REPLACE("/1", "['c']"), "['a',['c']]" },
	{ "{'a':null}", REPLACE("/a", "1"), "{'a':1}" },
	{ "{'a':1}", REPLACE("/a", "null"), "{'a':null}" },
	{ "'a'", REPLACE("", "'b'"), "'b'" },
	{ "{'a':1}", REPLACE("", "{'b':2}"), "{'b':2}" },
	{ "{'a':1}", REPLACE("/b", "2"), NULL },
	{ "{'a':1}", REPLACE("/b/a", "2"), NULL },
	{ "['']", REPLACE("/1e0", "1"), NULL },
	{ "[1,2]", REPLACE("/-", "0"), NULL },
};

static const struct patch_case moves_and_copies[] = {
	{ "{'a':1}", MOVE("/a", "/a"), "{'a':1}" },
	{ "{'a':1,'b':2}", MOVE("/a", "/c"), "{'b':2,'c':1}" },
	{ "{'a':1,'b':2}", MOVE("/a", "/b"), "{'b':1}" },
	{ "{'a':null}", MOVE("/a", "/b"), "{'b':null}" },
	{ "{'l':[{'x':1}]}", MOVE("/l/0/x", "/l/1"), "{'l':[{},1]}" },
	{ "{'a':1}", MOVE("/b", "/a"), NULL },
	{ "{'a':{'b':1}}", MOVE("/a", "/a/b"), NULL },
	{ "{'a':{'b':1}}", MOVE("/a", "/a/c"), NULL },
	{ "{'a':1,'l':[1,2]}", MOVE("/l/1e0", "/a"), NULL },
	{ "{'a':1}", "[" OP("move", "/b") "]", NULL },
	{ "{'l':[{'x':1}]}", COPY("/l/0", "/m"), "{'l':[{'x':1}],'m':{'x':1}}" },
	{ "{'a':null}", COPY("/a", "/b"), "{'a':null,'b':null}" },
	{ "{'a':[1]}", COPY("", "/b"), "{'a':[1],'b':{'a':[1]}}" },
	{ "{'l':[1,2]}", COPY("/l/1e0", "/m"), NULL },
	{ "{'a':1}", COPY("/b", "/a"), NULL },
	{ "[1]", "[" OP("copy", "/-") "]", NULL },
	/* a copy is another value */
	{ "{'a':{'l':[{'x':1}]}}",
	  "[" OP_FROM("copy", "/a", "/b") "," OP_VALUE("replace", "/b/l/0/x", "2") "]",
	  "{'a':{'l':[{'x':1}]},'b':{'l':[{'x':2}]}}" },
	{ "{'a':{'l':[{'x':1}]}}",
	  "[" OP_FROM("copy", "/a", "/b") "," OP_VALUE("replace", "/a/l/0/x", "2") "]",
	  "{'a':{'l':[{'x':2}]},'b':{'l':[{'x':1}]}}" },
};

static const struct patch_case tests[] = {
	{ "{'a':null}", TEST("/a", "null"), "{'a':null}" },
	{ "{'a':1}", "[{'op':'test','path':'/a','value':1,'more':2}]", "{'a':1}" },
	{ "{'a':{'x':1,'y':2}}", TEST("/a", "{'y':2,'x':1}"), "{'a':{'x':1,'y':2}}" },
	{ "{'a':[{'x':1,'y':2}]}", TEST("/a", "[{'y':2,'x':1}]"),
	  "{'a':[{'x':1,'y':2}]}" },
	{ "{'a':{'l':[1,2]}}", TEST("/a", "{'l':[1,2]}"), "{'a':{'l':[1,2]}}" },
	{ "{'a':{'l':[1,2]}}", TEST("/a", "[1,2]"), NULL },
	{ "{'a':[1,2]}", TEST("/a", "[2,1]"), NULL },
	{ "{'a':[1,2]}", TEST("/a", "[1]"), NULL },
	{ "{'a':{'x':1}}", TEST("/a", "{'x':1,'y':2}"), NULL },
	{ "{'a':'A'}", TEST("/a", "'a'"), NULL },
	{ "{'a':0}", TEST("/a", "false"), NULL },
	{ "[1]", TEST("/0", "1.0"), "[1]" },
	{ "{'a':1}", TEST("", "{'a':1}"), "{'a':1}" },
	{ "{'':1}", TEST("/", "1"), "{'':1}" },
	{ "{'1e0':2}", TEST("/1e0", "2"), "{'1e0':2}" },
	{ "['a','b']", TEST("/1e0", "'b'"), NULL },
	{ "['a','b']", TEST("/00", "'a'"), NULL },
	{ "['a','b']", TEST("/01", "'b'"), NULL },
	{ "{'a':1}", TEST("/b", "null"), NULL },
	{ "{'a/b':1,'c%d':2,'e^f':3,'g|h':4,' ':5,'m~n':6}",
	  "[" OP_VALUE("test", "/a~1b", "1") "," OP_VALUE("test", "/c%d", "2") "," OP_VALUE(
		  "test", "/e^f",
		  "3") "," OP_VALUE("test", "/g|h",
				    "4") "," OP_VALUE("test", "/ ",
						      "5") "," OP_VALUE("test", "/m~0n",
									"6") "]",
	  "{'a/b':1,'c%d':2,'e^f':3,'g|h':4,' ':5,'m~n':6}" },
	{ "{'i\\\\j':1,'k\\'l':2}",
	  "[" OP_VALUE("test", "/i\\\\j", "1") "," OP_VALUE("test", "/k\\'l", "2") "]",
	  "{'i\\\\j':1,'k\\'l':2}" },
};

static const struct patch_case malformed[] = {
	{ "{}", "[{'op':'add','value':1}]", NULL },
	{ "{}", "[{'op':'add','path':null,'value':1}]", NULL },
	{ "{}", "[{'path':'/a','value':1}]", NULL },
	{ "{}", ADD("a", "1"), NULL },
	{ "[1]", ADD("/~2", "0"), NULL },
	{ "[1]", "[" OP("add", "/-") "]", NULL },
	{ "[1]", "[" OP("replace", "/0") "]", NULL },
	{ "[null]", "[" OP("test", "/0") "]", NULL },
	{ "[false]", "[" OP("test", "/0") "]", NULL },
	{ "{'a':1}", "[" OP_VALUE("frob", "/a", "1") "]", NULL },
	{ "{'a':1}", "[{'op':'copy','from':5,'path':'/b'}]", NULL },
	{ "{'a':1}", "[{'op':'add','path':'/b','path':'/c','value':1}]", NULL },
	{ "{'a':1}", "[{'op':'add','path':'/b','value':1,'value':2}]", NULL },
	{ "[1]", "[5]", NULL },
	{ "[1]", OP_VALUE("add", "/0", "0"), NULL },
	{ "[1]", "[{'op':'add',", NULL },
	{ "[1", "[]", NULL },
	{ "[1] 2", "[]", NULL },
	{ "", "[]", NULL },
	/* all or nothing */
	{ "{'a':1}", "[" OP_VALUE("add", "/b", "2") "," OP_VALUE("test", "/a", "2") "]",
	  NULL },
};

static const struct patch_case kept[] = {
	{ "{}", "[]", "{}" },
	{ "'text'", "[]", "'text'" },
	/* the order of names */
	{ "{'z':1,'a':2,'m':{'y':3,'b':4}}", "[]", "{'z':1,'a':2,'m':{'y':3,'b':4}}" },
	{ "{'z':1,'a':2}", REPLACE("/z", "3"), "{'z':3,'a':2}" },
	/* numbers that a double does not hold are not touched */
	{ "[9007199254740993]", "[]", NULL },
	{ "['9007199254740993123456789',0.5,1e300]", "[]",
	  "['9007199254740993123456789',0.5,1e+300]" },
	{ "[0.1,123456789012345,-0.000123456789012345]", "[]",
	  "[0.1,123456789012345,-0.000123456789012345]" },
	{ "[1e400]", "[]", NULL },
	{ "[]", ADD("/0", "-1e400"), NULL },
	{ "[1e-320]", "[]", NULL },
	{ "[1e-400]", "[]", NULL },
	{ "[0e9,-0.0,1E5]", "[]", "[0,-0,100000]" },
	{ "[12345678901234567890e-5]", "[]", NULL },
	/* what looks like a number only */
	{ "[01]", "[]", NULL },
	{ "[1.]", "[]", NULL },
	{ "[.5]", "[]", NULL },
	{ "[+1]", "[]", NULL },
	{ "[1e]", "[]", NULL },
	{ "[1-2]", "[]", NULL },
	{ "[-]", "[]", NULL },
	{ "['01','\\'+ 1.',true]", "[]", "['01','\\'+ 1.',true]" },
	{ "['\\u0000']", "[]", NULL },
	{ "['gr\xc3\xbcn']", "[]", "['gr\xc3\xbcn']" },
};

/* Text of a table, its quotes right. The caller frees it. */
static char *quoted(const char *text, const char *end)
{
	char *p = malloc(strlen(text) + strlen(end) + 1);

	ck_assert_ptr_nonnull(p);
	strcpy(p, text);
	strcat(p, end);
	for (char *c = p; *c; c++)
		if (*c == '\'')
			*c = '"';
	return p;
}

static void check_case(const struct patch_case *c)
{
	char *doc = quoted(c->doc, ""), *patch = quoted(c->patch, ""), *got = NULL;
	char *want = c->want ? quoted(c->want, "\n") : NULL;
	size_t n = 0;
	int r = ropefs_value_patch(doc, strlen(doc), patch, strlen(patch), &got, &n);

	ck_assert_msg(r == (want ? 0 : -EINVAL), "%s, patched by %s: %d %s", doc, patch,
		      r, ropefs_error());
	if (want)
		ck_assert_msg(n == strlen(want) && !memcmp(got, want, n),
			      "%s, patched by %s: %.*s", doc, patch, (int)n, got);
	else
		ck_assert_str_ne(ropefs_error(), "");
	free(doc);
	free(patch);
	free(want);
	free(got);
}

#define CHECK_ALL(table)                                                                 \
	for (size_t i = 0; i < sizeof(table) / sizeof(*(table)); i++)                    \
	check_case(&(table)[i])

START_TEST(the_examples_of_the_rfc_do_what_it_says)
{
	CHECK_ALL(appendix_a);
}
END_TEST

START_TEST(values_are_added_where_there_is_a_place)
{
	CHECK_ALL(additions);
}
END_TEST

START_TEST(what_is_there_is_removed_and_replaced)
{
	CHECK_ALL(removals_and_replacements);
}
END_TEST

START_TEST(values_are_moved_and_copied)
{
	CHECK_ALL(moves_and_copies);
}
END_TEST

START_TEST(a_test_compares_values_whatever_the_order_of_names)
{
	CHECK_ALL(tests);
}
END_TEST

START_TEST(what_is_malformed_is_refused)
{
	CHECK_ALL(malformed);
}
END_TEST

START_TEST(what_is_not_patched_stays_as_it_was_written)
{
	CHECK_ALL(kept);
}
END_TEST

/* {'a':{'a':...}} and copies of it into itself: each makes it twice as deep. */
START_TEST(copies_of_a_value_into_itself_come_to_an_end)
{
	char *doubling = calloc(1, ROPEFS_WRITE_MAX), *to = doubling, *got;
	size_t n;

	ck_assert_ptr_nonnull(doubling);
	to += sprintf(to, "[{\"op\":\"add\",\"path\":\"/a\",\"value\":{}}");
	for (unsigned depth = 1; depth < 1u << 17; depth *= 2) {
		to += sprintf(to, ",{\"op\":\"copy\",\"from\":\"/a\",\"path\":\"");
		for (unsigned i = 0; i <= depth; i++)
			to += sprintf(to, "/a");
		to += sprintf(to, "\"}");
	}
	to += sprintf(to, "]");
	ck_assert_int_eq(
		ropefs_value_patch("{}", 2, doubling, (size_t)(to - doubling), &got, &n),
		-EINVAL);
	ck_assert_ptr_nonnull(strstr(ropefs_error(), "operation 11 "));
	ck_assert_ptr_nonnull(strstr(ropefs_error(), "more than 1000"));

	to = doubling + sprintf(doubling, "[");
	for (unsigned i = 0; i < 60; i++)
		to += sprintf(to, "%s{\"op\":\"copy\",\"from\":\"\",\"path\":\"/%u\"}",
			      i ? "," : "", i);
	to += sprintf(to, "]");
	ck_assert_int_eq(ropefs_value_patch("{\"key\":\"value\"}", 15, doubling,
					    (size_t)(to - doubling), &got, &n),
			 -EINVAL);
	ck_assert_ptr_nonnull(strstr(ropefs_error(), "copies of the patch"));
	free(doubling);
}
END_TEST

/* 998 arrays, with what is around them in the patch, are as deep as JSON is read. */
START_TEST(no_operation_makes_a_document_too_deep)
{
	static const struct {
		const char *doc, *op, *path;
		int want;
	} ways[] = {
		{ "{\"l\":[]}", "add", "/l/0", 0 },
		{ "{\"l\":[0]}", "replace", "/l/0", 0 },
		{ "{\"l\":[[]]}", "add", "/l/0/0", -EINVAL },
		{ "{\"l\":[[0]]}", "replace", "/l/0/0", -EINVAL },
		{ "{\"l\":{\"a\":{}}}", "add", "/l/a/b", -EINVAL },
		{ "{\"l\":[[]]}", "add", "", 0 },
	};
	char deep[1996 + 1], patch[2100], *got, *again;

	memset(deep, '[', 998);
	memset(deep + 998, ']', 998);
	deep[1996] = '\0';
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		int len = snprintf(patch, sizeof(patch),
				   "[{\"op\":\"%s\",\"path\":\"%s\",\"value\":%s}]",
				   ways[i].op, ways[i].path, deep);
		size_t n;

		ck_assert_int_eq(ropefs_value_patch(ways[i].doc, strlen(ways[i].doc),
						    patch, (size_t)len, &got, &n),
				 ways[i].want);
		if (ways[i].want < 0)
			continue;
		/* It can be patched again. */
		ck_assert_int_eq(ropefs_value_patch(got, n, "[]", 2, &again, &n), 0);
		free(got);
		free(again);
	}
}
END_TEST

#define ITEMS 20000u

/* An operation at each place of an array of that many numbers; the array is given back. */
static cJSON *patched(const char *op, const char *rest, uint64_t *ret_steps)
{
	cJSON *doc = cJSON_CreateArray(), *patch = cJSON_CreateArray();
	char path[32];

	for (unsigned i = 0; i < ITEMS; i++) {
		cJSON *o = cJSON_Parse(rest);

		/* 7919 has no divisor in common with ITEMS: each place once, in no order. */
		snprintf(path, sizeof(path), "/%u", i * 7919 % ITEMS);
		cJSON_AddStringToObject(o, "op", op);
		cJSON_AddStringToObject(o, "path", path);
		cJSON_AddItemToArray(patch, o);
		cJSON_AddItemToArray(doc, cJSON_CreateNumber(i));
	}
	ck_assert_msg(json_patch(&doc, patch, ret_steps) == 0, "%s: %s", op,
		      ropefs_error());
	cJSON_Delete(patch);
	return doc;
}

/* Each of them would walk half of the array: 20,000 times 10,000 items. */
START_TEST(many_operations_on_a_long_array_take_few_steps_each)
{
	uint64_t steps;
	cJSON *doc;
	int n = 0;

	doc = patched("add", "{\"value\":-1}", &steps);
	ck_assert_int_eq(cJSON_GetArraySize(doc), 2 * ITEMS);
	ck_assert_uint_le(steps, ITEMS * 1000ull);
	cJSON_Delete(doc);

	doc = patched("replace", "{\"value\":-1}", &steps);
	for (const cJSON *item = doc->child; item; item = item->next, n++)
		ck_assert_int_eq(item->valueint, -1);
	ck_assert_int_eq(n, ITEMS);
	ck_assert_uint_le(steps, ITEMS * 1000ull);
	cJSON_Delete(doc);

	doc = patched("move", "{\"from\":\"/0\"}", &steps);
	ck_assert_int_eq(cJSON_GetArraySize(doc), ITEMS);
	ck_assert_uint_le(steps, ITEMS * 1000ull);
	cJSON_Delete(doc);
}
END_TEST

/* As before, for members of an object: added, replaced, moved away and removed. */
START_TEST(many_operations_on_an_object_of_many_members_take_few_steps_each)
{
	static const char *const ops[] = {
		"{\"op\":\"add\",\"path\":\"/n%u\",\"value\":1}",
		"{\"op\":\"replace\",\"path\":\"/n%u\",\"value\":2}",
		"{\"op\":\"test\",\"path\":\"/n%u\",\"value\":2}",
		"{\"op\":\"move\",\"from\":\"/n%u\",\"path\":\"/m%u\"}",
		"{\"op\":\"remove\",\"path\":\"/m%u\"}",
	};
	cJSON *doc = cJSON_CreateObject();
	char text[100];

	for (unsigned k = 0; k < ARRAY_LEN(ops); k++) {
		cJSON *patch = cJSON_CreateArray();
		uint64_t steps;

		for (unsigned i = 0; i < ITEMS; i++) {
			unsigned at = i * 7919 % ITEMS;

			snprintf(text, sizeof(text), ops[k], at, at);
			cJSON_AddItemToArray(patch, cJSON_Parse(text));
		}
		ck_assert_msg(json_patch(&doc, patch, &steps) == 0, "%s: %s", ops[k],
			      ropefs_error());
		ck_assert_uint_le(steps, ITEMS * 100ull);
		ck_assert_int_eq(cJSON_GetArraySize(doc),
				 k + 1 < ARRAY_LEN(ops) ? (int)ITEMS : 0);
		cJSON_Delete(patch);
	}
	cJSON_Delete(doc);
}
END_TEST

/* In an object of many members, too, the first of two that have one name is meant. */
START_TEST(of_two_members_with_one_name_the_first_is_patched)
{
	cJSON *doc = cJSON_CreateObject();
	cJSON *patch = cJSON_Parse("[{\"op\":\"replace\",\"path\":\"/n25\",\"value\":-1},"
				   "{\"op\":\"remove\",\"path\":\"/n30\"},"
				   "{\"op\":\"add\",\"path\":\"/new\",\"value\":-2},"
				   "{\"op\":\"test\",\"path\":\"/new\",\"value\":-2}]");
	char name[16];

	for (int i = 0; i < 80; i++) {
		snprintf(name, sizeof(name), "n%d", i % 40);
		cJSON_AddNumberToObject(doc, name, i);
	}
	ck_ok(json_patch(&doc, patch, NULL));
	ck_assert_int_eq(cJSON_GetArraySize(doc), 80);
	ck_assert_int_eq(cJSON_GetArrayItem(doc, 25)->valueint, -1);
	ck_assert_int_eq(cJSON_GetObjectItemCaseSensitive(doc, "n30")->valueint, 70);
	ck_assert_int_eq(cJSON_GetObjectItemCaseSensitive(doc, "new")->valueint, -2);
	cJSON_Delete(patch);
	cJSON_Delete(doc);
}
END_TEST

/* Numbers in an array, as a plain row and as patched; places are drawn. */
START_TEST(an_array_that_is_patched_at_random_is_what_a_plain_row_is)
{
	static int row[4000];
	struct json_arrays arrays = { 0 };
	cJSON *array = cJSON_CreateArray(), *item;
	struct rng rng = rng_seeded(suite_seed());
	size_t n = 0, size;

	for (int i = 0; i < 12000; i++) {
		bool grows = rng_below(&rng, 4) >= (i < 6000 ? 1 : 3);

		if (n && (!grows || n == ARRAY_LEN(row))) {
			size_t at = rng_below(&rng, n);

			ck_ok(json_array_detach(&arrays, array, at, &item));
			ck_assert_int_eq(item->valueint, row[at]);
			cJSON_Delete(item);
			memmove(row + at, row + at + 1, (--n - at) * sizeof(*row));
		} else {
			size_t at = rng_below(&rng, n + 1);

			ck_ok(json_array_insert(&arrays, array, at,
						cJSON_CreateNumber(i)));
			memmove(row + at + 1, row + at, (n++ - at) * sizeof(*row));
			row[at] = i;
		}
		ck_ok(json_array_size(&arrays, array, &size));
		ck_assert_uint_eq(size, n);
	}
	item = array->child;
	for (size_t i = 0; i < n; i++, item = item->next) {
		cJSON *same;

		ck_ok(json_array_get(&arrays, array, i, &same));
		ck_assert_ptr_eq(same, item);
		ck_assert_int_eq(item->valueint, row[i]);
	}
	ck_assert_ptr_null(item);
	json_arrays_release(&arrays);
	cJSON_Delete(array);
}
END_TEST

int main(void)
{
	Suite *s = suite_create("patch");
	TCase *tc = tcase_create("patch");

	tcase_add_test(tc, the_examples_of_the_rfc_do_what_it_says);
	tcase_add_test(tc, values_are_added_where_there_is_a_place);
	tcase_add_test(tc, what_is_there_is_removed_and_replaced);
	tcase_add_test(tc, values_are_moved_and_copied);
	tcase_add_test(tc, a_test_compares_values_whatever_the_order_of_names);
	tcase_add_test(tc, what_is_malformed_is_refused);
	tcase_add_test(tc, what_is_not_patched_stays_as_it_was_written);
	tcase_add_test(tc, copies_of_a_value_into_itself_come_to_an_end);
	tcase_add_test(tc, no_operation_makes_a_document_too_deep);
	tcase_add_test(tc, many_operations_on_a_long_array_take_few_steps_each);
	tcase_add_test(tc,
		       many_operations_on_an_object_of_many_members_take_few_steps_each);
	tcase_add_test(tc, of_two_members_with_one_name_the_first_is_patched);
	tcase_add_test(tc, an_array_that_is_patched_at_random_is_what_a_plain_row_is);
	suite_add_tcase(s, tc);
	return suite_main(s);
}
