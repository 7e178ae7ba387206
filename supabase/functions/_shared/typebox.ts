/** JSON schemas with types, checked without generated code. Named here, with its version, so that no import map is needed. */

export { default } from "npm:typebox@1.4.3";
export type { Static, TObject, TOptional, TProperties, TSchema } from "npm:typebox@1.4.3";
export { Value } from "npm:typebox@1.4.3/value";
