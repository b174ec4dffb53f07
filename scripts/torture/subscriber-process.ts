// Writes every observation and event that reaches it to a file, and acknowledges each one only then.
// Arguments: port of the broker, file, topic filters. Reconnects for ever; ended by a signal.
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

// The library acknowledges when this calls back.
client.handleMessage = (packet: IPublishPacket, done: (error?: Error) => void): void => {
  writeSync(log, `${packet.topic}\t${packet.payload.toString()}\n`);
  done();
};

let connections = 0;
client.on('connect', ({ sessionPresent }) => {
  connections += 1;
  // Once the broker forgot the session, what was acknowledged and not delivered is gone with it.
  if (connections > 1 && !sessionPresent) process.send?.('session forgotten');
  if (sessionPresent) process.send?.('connected');
  else void client.subscribeAsync([...filters], { qos: 1 }).then(() => process.send?.('connected'));
});
client.on('close', () => process.send?.('disconnected'));
process.on('disconnect', () => process.exit(0));
