// Symbol visibility and the ABI namespace.
#pragma once

/// Marks what the shared library exports; everything else is hidden.
#define HEED_API [[gnu::visibility("default")]]

/// The library's version, for `#if`. `HEED_VERSION` is major * 10000 + minor * 100 + patch.
#define HEED_VERSION_MAJOR 0
#define HEED_VERSION_MINOR 1
#define HEED_VERSION_PATCH 0
#define HEED_VERSION (HEED_VERSION_MAJOR * 10000 + HEED_VERSION_MINOR * 100 + HEED_VERSION_PATCH)

/// Everything lives in `heed`; `v0` only shows in symbol names, so that two ABIs never mix silently.
namespace heed::inline v0 {}
