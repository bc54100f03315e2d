// W neighbours of an array, moved together by instructions of up to 16 bytes. Arrays from the pool begin at an address
// that allows it, but a view may begin anywhere: kernels ask `aligned`, and go one by one where it fails.

constexpr int WIDEST = 16 / sizeof(real);  // numbers in the widest access

template <int W, class T = real> struct alignas(W * sizeof(T) < 16 ? W * sizeof(T) : 16) Pack {
    T at[W];
    __device__ __forceinline__ T& operator[](int i) { return at[i]; }
    __device__ __forceinline__ T operator[](int i) const { return at[i]; }
};

// Whether all of the arrays can be moved so; null can.
template <int W, class... T> __device__ __forceinline__ bool aligned(const T*... arrays) {
    return (... | ((size_t)arrays % alignof(Pack<W, T>))) == 0;
}

template <int W, class T> __device__ __forceinline__ Pack<W, T> load(const T* from) {
    return *reinterpret_cast<const Pack<W, T>*>(from);
}

template <int W, class T> __device__ __forceinline__ void store(T* to, const Pack<W, T>& pack) {
    *reinterpret_cast<Pack<W, T>*>(to) = pack;
}
