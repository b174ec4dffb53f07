# docker buildx bake: both targets for arm64 and amd64, each under one tag. Publish: REGISTRY=… docker buildx bake --push
# A local test of one platform: docker buildx bake runtime --set '*.platform=linux/arm64' --load

variable "REGISTRY" { default = "" }
variable "VERSION" { default = "latest" }

group "default" { targets = ["runtime", "runtime-ffmpeg"] }

target "common" {
  dockerfile = "Dockerfile.arm64"
  platforms  = ["linux/arm64", "linux/amd64"]
  labels = {
    "org.opencontainers.image.title"    = "SwellSight Edge"
    "org.opencontainers.image.licenses" = "MIT"
    "org.opencontainers.image.version"  = VERSION
  }
}

target "runtime" {
  inherits = ["common"]
  target   = "runtime"
  tags     = ["${REGISTRY}swellsight-edge:${VERSION}"]
}

target "runtime-ffmpeg" {
  inherits = ["common"]
  target   = "runtime-ffmpeg"
  tags     = ["${REGISTRY}swellsight-edge:${VERSION}-ffmpeg"]
}
