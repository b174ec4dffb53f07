// Writes each received observation and event to a file, and acknowledges it afterwards. Reconnects until a signal ends it.
// Arguments: port of the broker, file, topic filters.
import { openSync, writeSync } from 'node:fs';
import { connect, type IPublishPacket } from 'mqtt';

const [, , port = '', file = '', ...filters] = process.argv;
const log = openSync(file, 'a');
const client = connect(`mqtt://127.0.0.1:${port}`, {
  protocolVersion: 5,
  clientId: 'torture-subscriber',
  clean: false,
  properties: { sessionExpiryInterval: 0xffffffff, receiveMaximum: 65_535 },
  reconnectPeriod: 50,
  connectTimeout: 5000,
  keepalive: 10,
});
client.on('error', () => undefined);

// The library sends the PUBACK when `done` is called.
client.handleMessage = (packet: IPublishPacket, done: (error?: Error) => void): void => {
  writeSync(log, `${packet.topic}\t${packet.payload.toString()}\n`);
  done();
};

let connections = 0;
client.on('connect', ({ sessionPresent }) => {
  connections += 1;
  // When the broker loses the session, it also loses acknowledged messages that it had not delivered.
  if (connections > 1 && !sessionPresent) process.send?.('session forgotten');
  if (sessionPresent) process.send?.('connected');
  else void client.subscribeAsync([...filters], { qos: 1 }).then(() => process.send?.('connected'));
});
client.on('close', () => process.send?.('disconnected'));
process.on('disconnect', () => process.exit(0));
