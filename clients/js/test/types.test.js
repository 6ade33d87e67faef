// What index.d.ts says is what there is, and a strict compiler takes a program that uses all of it.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { test } from "node:test";

import * as library from "../index.js";

/** The directory of the package `typescript`. */
const { TYPESCRIPT } = process.env;
const CONSUMER = new URL("types/consumer.ts", import.meta.url);
const STRICT = ["--noEmit", "--strict", "--exactOptionalPropertyTypes", "--noUncheckedSideEffectImports"];
const PLACE = ["--target", "es2022", "--lib", "es2023,dom,dom.iterable", "--module", "nodenext"];

const declared = (await readFile(new URL("../index.d.ts", import.meta.url), "utf8")).matchAll(
  /^export (class|function|interface|type) (\w+)/gm,
);
const names = Array.from(declared, ([, kind, name]) => ({ isValue: kind === "class" || kind === "function", name }));

test("what is declared as a value is exported, and nothing else", () => {
  const values = names.filter(({ isValue }) => isValue).map(({ name }) => name);
  assert.deepEqual(values.sort(), Object.keys(library).sort());
});

test("the members of the classes that are declared are there", async () => {
  const text = await readFile(new URL("../index.d.ts", import.meta.url), "utf8");
  for (const [, name, body] of text.matchAll(/^export class (\w+).*?{\n(.*?)^}/gms)) {
    const methods = Array.from(body.matchAll(/^ {2}(\w+)\(/gm), ([, method]) => method);
    for (const method of methods) assert.equal(typeof library[name].prototype[method], "function", `${name}.${method}`);
  }
});

test("a strict compiler takes a program that uses everything", { skip: !TYPESCRIPT && "TYPESCRIPT names no compiler" }, async () => {
  const consumer = await readFile(CONSUMER, "utf8");
  const [, imports] = /^import {(.*?)}/ms.exec(consumer);
  const used = Array.from(imports.matchAll(/(?:type )?(\w+),/g), ([, name]) => name);
  assert.deepEqual(used.sort(), names.map(({ name }) => name).sort(), "what is declared is used");
  const args = [`${TYPESCRIPT}/bin/tsc`, ...STRICT, ...PLACE, fileURLToPath(CONSUMER)];
  const told = await promisify(execFile)(process.execPath, args).catch(({ stdout }) => ({ stdout }));
  assert.equal(told.stdout, "");
});
