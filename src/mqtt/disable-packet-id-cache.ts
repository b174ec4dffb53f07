import mqttPacket from 'mqtt-packet';

// A side effect that the client and the embedded broker share. With its cache, mqtt-packet creates a buffer for each of
// the 65,536 packet identifiers with the first packet: 9 MB for the life of the process, to save one microsecond a
// message.
mqttPacket.writeToStream.cacheNumbers = false;
