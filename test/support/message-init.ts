import type { DescMessage, MessageInitShape, MessageShape } from "@bufbuild/protobuf";

/** What create() takes to make a message, unless that is a message already; such a value can be spread. */
export type Init<Schema extends DescMessage> = Exclude<MessageInitShape<Schema>, MessageShape<Schema>>;
