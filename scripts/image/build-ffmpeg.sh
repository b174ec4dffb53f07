#!/bin/sh
# Builds ffmpeg and ffprobe for the cameras of the agent: build-ffmpeg.sh amd64|arm64 TARGET
# The sources of Debian's package are in the working directory, the cross compiler and libraries are installed.
# The licence is LGPL 2.1 or later: no GPL part is enabled.
set -eu
arch=$1
target=$2
triplet=$(dpkg-architecture -a "$arch" -qDEB_HOST_GNU_TYPE 2>/dev/null)

cd ffmpeg-*/
PKG_CONFIG_LIBDIR="/usr/lib/$triplet/pkgconfig:/usr/share/pkgconfig" ./configure \
  --prefix=/usr --enable-cross-compile --target-os=linux --arch="${triplet%%-*}" --cross-prefix="$triplet-" \
  --pkg-config=pkg-config \
  --disable-everything --disable-autodetect --disable-doc --disable-debug --disable-ffplay \
  --enable-openssl --enable-zlib --enable-pthreads \
  --enable-protocol=file,pipe,tcp,udp,rtp,tls,http,https,httpproxy,crypto \
  --enable-demuxer=rtsp,rtp,sdp,hls,concat,mpegts,mpegps,mov,matroska,avi,flv,asf,ogg,h264,hevc,m4v,mjpeg,mpjpeg,image2,image2pipe \
  --enable-indev=v4l2 \
  --enable-decoder=h264,hevc,mjpeg,mpeg4,mpeg2video,mpeg1video,h263,vp8,vp9,png,rawvideo,aac,mp3,opus,pcm_alaw,pcm_mulaw,pcm_s16be,adpcm_g726 \
  --enable-parser=h264,hevc,mjpeg,mpeg4video,mpegvideo,h263,vp8,vp9,png,aac,mpegaudio,opus \
  --enable-bsf=extract_extradata,h264_mp4toannexb,hevc_mp4toannexb,mjpeg2jpeg,vp9_superframe_split \
  --enable-encoder=mjpeg,png,rawvideo \
  --enable-muxer=image2,image2pipe,mjpeg,mpjpeg,rawvideo,null \
  --enable-filter=fps,scale,format,null,setpts,trim,select,crop,hflip,vflip,transpose,rotate
make -j"$(nproc)"
make install DESTDIR="$target.all"

mkdir -p "$target/usr/bin" "$target/usr/share/doc/ffmpeg"
for program in ffmpeg ffprobe; do
  "$triplet-strip" -o "$target/usr/bin/$program" "$target.all/usr/bin/$program"
done
cp debian/copyright "$target/usr/share/doc/ffmpeg/"
head -1 debian/changelog > "$target/usr/share/doc/ffmpeg/source"
