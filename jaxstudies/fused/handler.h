// How XLA calls a generated kernel: through its interface for foreign functions.
#include <stdint.h>
#include "xla/ffi/api/c_api.h"
#ifdef FOR_CUDA
#include <dlfcn.h>
#endif

static XLA_FFI_Error* failed(const XLA_FFI_Api* api, const char* why) {
  XLA_FFI_Error_Create_Args args = {XLA_FFI_Error_Create_Args_STRUCT_SIZE, 0, why, XLA_FFI_Error_Code_INTERNAL};
  return api->XLA_FFI_Error_Create(&args);
}
static void* data_of(void* const* buffers, int i) { return ((XLA_FFI_Buffer*)buffers[i])->data; }
static int64_t size_of(void* const* buffers, int i, int axis) {
  return ((XLA_FFI_Buffer*)buffers[i])->dims[axis];
}

struct Sizes {
  int blocks, networks, epochs, orders, steps, batch;
};
static XLA_FFI_Error* launch(const XLA_FFI_CallFrame* frame, void** in, void** out, Sizes size);

extern "C" XLA_FFI_Error* run(XLA_FFI_CallFrame* frame) {
  if (frame->extension_start && frame->extension_start->type == XLA_FFI_Extension_Metadata) {
    XLA_FFI_Metadata* metadata = ((XLA_FFI_Metadata_Extension*)frame->extension_start)->metadata;
    metadata->api_version.major_version = XLA_FFI_API_MAJOR;
    metadata->api_version.minor_version = XLA_FFI_API_MINOR;
    return 0;
  }
  if (frame->stage != XLA_FFI_ExecutionStage_EXECUTE) return 0;
  void *in[INPUTS], *out[OUTPUTS];
  for (int i = 0; i < INPUTS; i++) in[i] = data_of(frame->args.args, i);
  for (int i = 0; i < OUTPUTS; i++) out[i] = data_of(frame->rets.rets, i);
  // The last input is the order of the examples, (orders, steps, batch), between blocks and networks if each has its own;
  // the last output the losses, (blocks, epochs, networks of a block).
  void *const *taken = frame->args.args, *const *given = frame->rets.rets;
  int first = ((XLA_FFI_Buffer*)taken[INPUTS - 1])->rank > 3;
  Sizes size = {(int)size_of(given, OUTPUTS - 1, 0), (int)size_of(given, OUTPUTS - 1, 2),
                (int)size_of(given, OUTPUTS - 1, 1), (int)size_of(taken, INPUTS - 1, first),
                (int)size_of(taken, INPUTS - 1, first + 1), (int)size_of(taken, INPUTS - 1, first + 2)};
  return launch(frame, in, out, size);
}

#ifdef FOR_CUDA
// The driver's own functions, as its library has them: nothing of CUDA is needed to compile this.
typedef int (*LoadData)(void**, const void*, void*, void*, unsigned, void*, void*, unsigned);
typedef int (*GetKernel)(void**, void*, const char*);
typedef int (*Launch)(void*, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void*, void**, void**);
static XLA_FFI_Error* launch(const XLA_FFI_CallFrame* frame, void** in, void** out, Sizes size) {
  static void* kernel = 0;
  static Launch start = 0;
  if (!__atomic_load_n(&kernel, __ATOMIC_ACQUIRE)) {  // two threads may load it twice, to the same effect
    void* driver = dlopen("libcuda.so.1", RTLD_NOW);
    if (!driver) return failed(frame->api, "libcuda.so.1 cannot be opened");
    LoadData load = (LoadData)dlsym(driver, "cuLibraryLoadData");
    GetKernel get = (GetKernel)dlsym(driver, "cuLibraryGetKernel");
    start = (Launch)dlsym(driver, "cuLaunchKernel");
    void *library = 0, *found = 0;
    if (!load || !get || !start) return failed(frame->api, "the driver is older than CUDA 12");
    if (load(&library, IMAGE, 0, 0, 0, 0, 0, 0) || get(&found, library, "train"))
      return failed(frame->api, "the fused kernel cannot be loaded");
    __atomic_store_n(&kernel, found, __ATOMIC_RELEASE);
  }
  XLA_FFI_Stream_Get_Args stream = {XLA_FFI_Stream_Get_Args_STRUCT_SIZE, 0, frame->ctx, 0};
  if (XLA_FFI_Error* error = frame->api->XLA_FFI_Stream_Get(&stream)) return error;
  void* arguments[5 + INPUTS + OUTPUTS] = {&size.networks, &size.epochs, &size.orders, &size.steps, &size.batch};
  for (int i = 0; i < INPUTS; i++) arguments[5 + i] = &in[i];
  for (int i = 0; i < OUTPUTS; i++) arguments[5 + INPUTS + i] = &out[i];
  unsigned blocks = ((unsigned)size.networks + THREADS - 1) / THREADS;
  if (start(kernel, blocks, 1, 1, THREADS, 1, 1, 0, stream.stream, arguments, 0))
    return failed(frame->api, "the fused kernel cannot be launched");
  return 0;
}
#endif
