import mqttPacket from 'mqtt-packet';

// It would make a buffer for each of the 65,536 packet identifiers with the first packet: 9 MB for good, to save a
// microsecond a message.
mqttPacket.writeToStream.cacheNumbers = false;
