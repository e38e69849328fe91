"""The loops of the matrix products are what they are meant to be, in the machine code.

Nothing in C says that the sums of a tile stay in registers, or that a multiplication and an
addition are one instruction: a pragma that is missing, or one sum too many, costs a factor of two
and no test of numbers notices. So each path is compiled as setup.py does it, and read.
"""

import shutil

import compiled
import disassembly
import pytest

pytestmark = pytest.mark.slow

# The vector of a path, and how many there are. Vectors of NEON are read as those of 16 bytes.
REGISTERS = {"avx512": ("zmm", 32), "avx2": ("ymm", 16), "neon": ("xmm", 32)}

# A tile of rows times two vectors, as gemm.inc has it: a sum is FUSED or not.
TILE = """
#include <immintrin.h>
#include <stdint.h>
#ifdef FUSED
#    define ADD_PRODUCT(a, b, c) _mm256_fmadd_ps(a, b, c)
#else
#    define ADD_PRODUCT(a, b, c) ((c) + (a) * (b))
#endif
void tile(int64_t K, const float *A, int64_t lda, const float *B, int64_t ldb, float *C) {
    __m256 sum[ROWS][2];
    _Pragma("GCC unroll 32") for (int i = 0; i < 2 * ROWS; i++)
        sum[i / 2][i % 2] = _mm256_setzero_ps();
    for (int64_t k = 0; k < K; k++, A++, B += ldb) {
        const __m256 b0 = _mm256_loadu_ps(B), b1 = _mm256_loadu_ps(B + 8);
        _Pragma("GCC unroll 32") for (int i = 0; i < ROWS; i++) {
            const __m256 a = _mm256_set1_ps(A[i * lda]);
            sum[i][0] = ADD_PRODUCT(a, b0, sum[i][0]);
            sum[i][1] = ADD_PRODUCT(a, b1, sum[i][1]);
        }
    }
    _Pragma("GCC unroll 32") for (int i = 0; i < 2 * ROWS; i++)
        _mm256_storeu_ps(C + 8 * i, sum[i / 2][i % 2]);
}
"""


def require(path):
    """Skip what cannot be compiled or read here; a compiler for ARM may be here beside another."""
    if path not in {*compiled.PATHS, "neon"}:
        pytest.skip(f"{path} is for another processor")
    if not compiled.compiler(path):
        pytest.skip(f"there is no C compiler for {path}")
    if not shutil.which(compiled.cross(path) + "objdump"):
        pytest.skip(f"there is no objdump (binutils) for {path}")


@pytest.fixture(scope="module", params=REGISTERS)
def path(request):
    """Return every path that promises fused products."""
    require(request.param)
    return request.param


@pytest.fixture(scope="module")
def loops(path, tmp_path_factory):
    """Return the loops of products in the object of a path."""
    target = tmp_path_factory.mktemp(path) / "isa.o"
    source = compiled.ROOT / f"src_c/isa_{path}.c"
    built = compiled.compile_source(source, path, target)
    # Losses multiply no matrices, and keep a block of rows on the stack, where it belongs.
    functions = disassembly.disassemble(built, compiled.cross(path) + "objdump")
    return disassembly.product_loops({n: f for n, f in functions.items() if "_loss" not in n})


def test_the_loops_of_products_fuse_and_keep_their_sums_in_registers(path, loops):
    found = {str(loop): disassembly.faults(loop) for loop in loops}
    assert {loop: faults for loop, faults in found.items() if faults} == {}
    assert {loop.width for loop in loops} == {REGISTERS[path][0]}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_there_are_loops_whose_sums_fill_most_registers(path, loops, dtype):
    # Guards the claim above: what is not recognized as the loop of a product cannot break it.
    fullest = max(len(loop.fused) for loop in loops if loop.dtype == dtype)
    assert fullest >= 0.7 * REGISTERS[path][1]


def crafted(folder, *flags):
    """Return the loop of a tile of our own, and what is wrong with it."""
    require("avx2")
    source = folder / "tile.c"
    source.write_text(TILE)
    target = compiled.compile_source(source, "avx2", folder / "tile.o", *flags)
    (loop,) = disassembly.product_loops(disassembly.disassemble(target))
    return loop, disassembly.faults(loop)


def test_a_sound_loop_is_found_and_passes(tmp_path):
    loop, faults = crafted(tmp_path, "-DROWS=6", "-DFUSED")
    assert (len(loop.fused), loop.dtype, loop.width, faults) == (12, "float32", "ymm", [])


def test_sums_beyond_the_registers_are_noticed(tmp_path):
    loop, faults = crafted(tmp_path, "-DROWS=12", "-DFUSED")
    assert len(loop.carried) >= 4
    assert faults == ["it keeps vectors on the stack"]


def test_separate_products_and_sums_are_noticed(tmp_path):
    loop, faults = crafted(tmp_path, "-DROWS=4")
    assert (len(loop.fused), len(loop.separate)) == (0, 8)
    assert faults == ["it multiplies and adds apart"]


# A loop of which some sums, not all, go to the stack and back, as objdump prints it.
SPILLING = """
0000000000000000 <tile>:
   0:\tpush   %rbp
   1:\tmov    %rsp,%rbp
   4:\tvmovups (%rsi),%zmm1
   a:\tvbroadcastss (%rdi),%zmm0
  10:\tvfmadd231ps %zmm1,%zmm0,%zmm2
  16:\tvfmadd231ps (%rdx){1to16},%zmm0,%zmm3
  1c:\tvfmadd231ps %zmm1,%zmm0,%zmm4{%k1}
  22:\tvfmadd231ps 0x40(%rsi),%zmm0,%zmm5
  28:\tvmovaps -0x40(%rbp),%zmm6
  2e:\tvfmadd231ps %zmm1,%zmm0,%zmm6
  34:\tvmovaps %zmm6,-0x40(%rbp)
  3a:\tadd    $0x4,%rdi
  3e:\tcmp    %rdi,%rax
  41:\tjne    a <tile+0xa>
  43:\tvmovups %zmm2,(%rcx)
  49:\tret
"""


def test_one_sum_on_the_stack_is_noticed():
    (loop,) = disassembly.product_loops(disassembly.parse(SPILLING))
    assert loop.fused == {2, 3, 4, 5}
    assert loop.carried == {"-0x40(%rbp)"}
    assert [i.address for i in loop.stack] == [0x28, 0x34]
    assert disassembly.faults(loop) == ["it keeps vectors on the stack"]


def test_rbp_is_a_register_like_others_where_there_is_no_frame():
    text = SPILLING.replace("   1:\tmov    %rsp,%rbp\n", "")
    (loop,) = disassembly.product_loops(disassembly.parse(text))
    assert disassembly.faults(loop) == []


# The same on ARM: one sum goes to the stack and back, and one is multiplied and added apart.
SPILLING_ON_ARM = """
tile.o:     file format elf64-littleaarch64

0000000000000000 <tile>:
   0:\tsub\tsp, sp, #0x20
   4:\tldp\tq1, q2, [x1]
   8:\tldr\ts3, [x0, x2]
   c:\tfmla\tv4.4s, v1.4s, v3.s[0]
  10:\tfmla\tv5.4s, v2.4s, v3.s[0]
  14:\tld1r\t{v6.4s}, [x0], #4
  18:\tldr\tq7, [sp, #16]
  1c:\tfmla\tv7.4s, v1.4s, v6.4s
  20:\tstr\tq7, [sp, #16]
  24:\tfmul\tv16.4s, v2.4s, v6.4s
  28:\tfadd\tv17.4s, v17.4s, v16.4s
  2c:\tcmp\tx0, x3
  30:\tb.ne\t4 <tile+0x4>  // b.any
  34:\tret
"""


def test_the_code_of_arm_is_read_as_well():
    (loop,) = disassembly.product_loops(disassembly.parse(SPILLING_ON_ARM))
    assert (loop.fused, loop.separate, loop.carried) == ({4, 5}, {17}, {"(%rsp, 16)"})
    assert (loop.dtype, loop.width) == ("float32", "xmm")
    assert disassembly.faults(loop) == [
        "it multiplies and adds apart",
        "it keeps vectors on the stack",
    ]
