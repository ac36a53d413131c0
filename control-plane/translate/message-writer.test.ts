import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";

import { SocketAddressSchema } from "#envoy/config/core/v3/address_pb.ts";
import { EndpointSchema } from "#envoy/config/endpoint/v3/endpoint_components_pb.ts";

import { MessageWriter } from "./message-writer.ts";

const { hostname, address } = EndpointSchema.field;
const { address: host, portValue } = SocketAddressSchema.field;

/** A string field as protobuf-es writes it. */
const reference = (text: string) => toBinary(EndpointSchema, create(EndpointSchema, { hostname: text }));

test("texts of any characters and length are what protobuf-es writes", () => {
  const writer = new MessageWriter();
  const text = fc.oneof(
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.string({ minLength: 120, maxLength: 140 }),
    // A surrogate without its other half.
    fc.constant("\ud800 and some more characters than are copied one by one"),
  );
  fc.assert(
    fc.property(text, (value) => {
      const bytes = writer.encode(() => writer.text(hostname, value));
      expect(Buffer.from(bytes)).toEqual(Buffer.from(reference(value)));
    }),
  );
});

test("numbers of any size are what protobuf-es writes, and 0 only where it has a meaning", () => {
  const writer = new MessageWriter();
  fc.assert(
    fc.property(fc.oneof(fc.nat(300), fc.nat(2 ** 32 - 1)), (port) => {
      const bytes = writer.encode(() => writer.oneofNumber(portValue, port));
      const message = create(SocketAddressSchema, { portSpecifier: { case: "portValue", value: port } });
      expect(Buffer.from(bytes)).toEqual(Buffer.from(toBinary(SocketAddressSchema, message)));
    }),
  );
  expect(writer.encode(() => writer.number(portValue, 0))).toHaveLength(0);
});

test("a message that is larger than the memory that is there grows it", () => {
  const writer = new MessageWriter();
  const count = 3_000;
  const bytes = writer.encode(() => {
    for (let at = count - 1; at >= 0; at--) {
      const before = writer.written;
      writer.text(host, `10.0.0.${at}`);
      writer.endMessage(address, before);
    }
  });
  const one = (at: number) => {
    const text = Buffer.from(`10.0.0.${at}`);
    const tag = (number: number) => (number << 3) | 2;
    return Buffer.concat([Buffer.from([tag(address.number), text.length + 2, tag(host.number), text.length]), text]);
  };
  expect(Buffer.from(bytes)).toEqual(Buffer.concat(Array.from({ length: count }, (_, at) => one(at))));
});

test("what one message left behind when it failed is not in the next", () => {
  const writer = new MessageWriter();
  const fail = () =>
    writer.encode(() => {
      writer.text(hostname, "left behind");
      throw new Error("no");
    });
  expect(fail).toThrow("no");
  expect(Buffer.from(writer.encode(() => writer.text(hostname, "next")))).toEqual(Buffer.from(reference("next")));
});
