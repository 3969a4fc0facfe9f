// What goes wrong in a way that somebody can act on: kind says who (input, asset, framework, request).

export class Fault extends Error {
  constructor(kind, text) {
    super(text);
    this.kind = kind;
  }
}
