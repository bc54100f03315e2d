// W neighbours of an array, moved together by instructions of up to 16 bytes. Arrays from the pool begin at an address
// that allows it, but a view may begin anywhere: kernels ask `aligned` of each array, and go one by one where it fails.

template <class T, int W> struct alignas(W * sizeof(T) < 16 ? W * sizeof(T) : 16) Pack { T v[W]; };

template <int W, class T> __device__ __forceinline__ bool aligned(const T* array) {
    return (size_t)array % alignof(Pack<T, W>) == 0;  // null too
}

template <int W, class T> __device__ __forceinline__ Pack<T, W> load_pack(const T* from) {
    return *reinterpret_cast<const Pack<T, W>*>(from);
}

template <int W, class T> __device__ __forceinline__ void store_pack(T* to, const Pack<T, W>& pack) {
    *reinterpret_cast<Pack<T, W>*>(to) = pack;
}
