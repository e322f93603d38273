"""Pillow's bilinear resize as an ONNX graph, equal to it bit by bit.

A model's scores depend on how its images are made smaller, so an exported file has to do it as `vision.images.stack`
does. ONNX's own Resize does not: with `antialias` it is off by up to 20 grey levels at the edges, without the edges by
one level in up to 3.5 % of the pixels, and OpenVINO's version of it by 100 levels. Hence this graph, of whole numbers
only, which every engine computes alike:

- Pillow weights the pixels under a triangle, rounds the weights to 22 bits, sums in whole numbers and rounds to 8 bits,
  first along one axis, then along the other (`Resample.c`). All of that is rational: with m = max(in, out), pixel x has
  the weight n = max(0, 2m - |2 out x + out - in (2 X + 1)|) for output X, divided by the sum of the n.
- The quotient's 22 bits come from a long division, since 32 bits must hold everything: OpenVINO computes 64-bit numbers
  with 32. It also divides whole numbers as floats, so that each quotient is mended by one where its rest says so. And
  it adds up an axis in floats, which are exact to 24 bits, so that the lower 8 bits of the n are added up on their own.
- A loop over the taps adds weight times pixel. The rows that it copies are long, so that it takes only 2 to 3 times as
  long as Pillow: on one core 1.6 ms for 300 x 300 to 256 x 256 (.6 ms), 3.1 for 432 x 576 (1.0), 11 for 1024 x 1024
  (3.4), 122 for 3000 x 4000 (53); OpenVINO takes 1.6, 2.7, 9 and 96 ms.
- An axis that already has the right length is left alone, as Pillow does: an image of the right size costs .07 ms. This
  is a loop, too, that runs once or never. The operation If would say it better, but OpenVINO 2026.4 hands memory on
  that is not filled yet after an If whose result is larger than the one before, as in the first run of every request.

From version 13 on, Pillow resizes an image first along its height where that shrinks more than twice as much as the
width, which changes some pixels by one level. The graph takes the order that `stack` has where it is made.

The result is exact up to `LONGEST` pixels per axis for sides from `SMALLEST` on. The sum of the n is about 2 m^2 / out,
and a step of b bits needs (2^b + 1) times that in 31 bits, so that small sides need smaller steps. Only the first 12
bits are free: where the sum is large, the shares of it are small. Under a side of 4, an output has more than 16,448
taps, whose rounded weights may add up to more than 256 levels.
"""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image

from anomalybench.core.method import ImageArrays
from anomalybench.deploy.exported import LONGEST
from anomalybench.vision.images import stack

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18
IR = 8
"""Version of the file's layout: ONNX Runtime 1.17, the oldest that is supported, reads up to 9."""
PICTURE = "resize_picture"
SMALLEST = 4
_BITS = 22


def resize_model(side: int) -> "ModelProto":
    """A graph from `image` (uint8, n x h x w x 3) to `resize_picture` (float32, n x 3 x side x side, whole numbers).

    Args:
        side: Side of the square.
    """
    from onnx import parser

    return parser.parse_model(_text(side, tall=tall_first()))


def tall_first() -> bool:
    """Whether `stack` resizes tall images first along their height, as Pillow 13 does; seen from what it gives."""
    image = np.random.default_rng(0).integers(0, 256, (64, 24, 3), np.uint8)
    wide = Image.fromarray(image).resize((16, 64), Image.Resampling.BILINEAR)
    across_first = np.asarray(wide.resize((16, 16), Image.Resampling.BILINEAR))
    return not np.array_equal(stack(ImageArrays([image]), 16)[0].permute(1, 2, 0).numpy(), across_first)


def _text(side: int, *, tall: bool) -> str:
    """The graph in ONNX's own language. `a` is the axis that is resized first, `b` the other one."""
    odd = ", ".join(str(2 * i + 1) for i in range(side))
    powers = "".join(f"int32[1] resize_bits{bits} = {{{2**bits}}}, " for bits in sorted(set(_steps(side))))
    return f"""<ir_version: {IR}, opset_import: ["" : {OPSET}]>
resize (uint8[N, H, W, 3] image) => (float[N, 3, {side}, {side}] {PICTURE}) <
 int32[1] resize_out = {{{side}}}, int32[1] resize_out2 = {{{2 * side}}}, int32[{side}] resize_odd = {{{odd}}},
 int32[1] resize_zero = {{0}}, int32[1] resize_one = {{1}}, int32 resize_from = {{0}}, int32 resize_step = {{1}},
 int32[1] resize_half = {{{1 << (_BITS - 1)}}}, int32[1] resize_mask = {{{255 << _BITS}}},
 {powers}int32[1] resize_bits8 = {{256}}, int32[1] resize_byte = {{255}},
 float[1] resize_unit = {{{2.0**-_BITS!r}}},
 int64 resize_first = {{0}}, int64 resize_next = {{1}}, int64[1] resize_axis0 = {{0}}, int64[1] resize_last = {{-1}},
 int64[1] resize_side = {{{side}}}, int64[1] resize_channels = {{3}}, int64[1] resize_single = {{1}},
 int64[1] resize_two = {{2}}, int64[1] resize_rest = {{-1}}, bool resize_yes = {{1}},
 int64[4] resize_square = {{-1, {side}, {side}, 3}}>
{{
 resize_sizes = Shape (image)
 resize_n = Gather <axis = 0> (resize_sizes, resize_axis0)
 resize_h = Gather <axis = 0> (resize_sizes, resize_single)
 resize_w = Gather <axis = 0> (resize_sizes, resize_two)
 resize_row = Mul (resize_w, resize_channels)
 resize_side_row = Mul (resize_side, resize_channels){_passes(side, tall=tall)}
 resize_fixed = Reshape (resize_b, resize_square)
 resize_chw = Transpose <perm = [0, 3, 1, 2]> (resize_fixed)
 {PICTURE} = Cast <to = 1> (resize_chw)
}}"""


class _Sizes(NamedTuple):
    """Names of what a pass resizes: an axis, with so much before it (height or nothing) and after it."""

    outer: str
    length: str
    inner: str


_WIDTH_FIRST = (
    _Sizes("resize_h", "resize_w", "resize_channels"),
    _Sizes("resize_single", "resize_h", "resize_side_row"),
)
_HEIGHT_FIRST = (
    _Sizes("resize_single", "resize_h", "resize_row"),
    _Sizes("resize_side", "resize_w", "resize_channels"),
)


def _chosen(name: str, wide: _Sizes, high: _Sizes) -> str:
    """The sizes of a pass where the image decides on the order."""
    pairs = zip(_Sizes._fields, wide, high, strict=True)
    return "".join(f"\n {name}_{field} = Where (resize_tall, {second}, {first})" for field, first, second in pairs)


def _passes(side: int, *, tall: bool) -> str:
    """Both passes, along the width first; with `tall`, along the height first where that shrinks much more."""
    a, b = _WIDTH_FIRST
    text = ""
    if tall:
        text = """
 resize_h_less = Sub (resize_h, resize_side)
 resize_w_less = Sub (resize_w, resize_side)
 resize_w_less2 = Mul (resize_w_less, resize_two)
 resize_least = Max (resize_w_less2, resize_axis0)
 resize_tall = Greater (resize_h_less, resize_least)"""
        text += _chosen("resize_a", a, _HEIGHT_FIRST[0]) + _chosen("resize_b", b, _HEIGHT_FIRST[1])
        a, b = (_Sizes(*(f"{name}_{field}" for field in _Sizes._fields)) for name in ("resize_a", "resize_b"))
    return text + _pass("resize_a", "image", a, side) + _pass("resize_b", "resize_a", b, side)


def _pass(p: str, source: str, sizes: _Sizes, side: int) -> str:
    """Resize one axis of `source`, n x outer x length x inner, by a loop that runs once, or never if it fits."""
    turn = "Transpose <perm = [0, 2, 1, 3]>"
    return f"""
 {p}_fits = Equal ({sizes.length}, resize_side)
 {p}_passes_1 = Where ({p}_fits, resize_axis0, resize_single)
 {p}_passes = Squeeze ({p}_passes_1)
 {p} = Loop ({p}_passes, resize_yes, {source}) <body = {p}_pass
  (int64 {p}_pass_i, bool {p}_pass_on, uint8[N, b, c, d] {p}_given)
  => (bool {p}_pass_still, uint8[N, e, f, g] {p}_resized) {{
   {p}_pass_still = Identity ({p}_pass_on)
   {p}_shape = Concat <axis = 0> (resize_n, {sizes.outer}, {sizes.length}, {sizes.inner})
   {p}_parted = Reshape ({p}_given, {p}_shape)
   {p}_moved = {turn} ({p}_parted)
   {p}_rows_shape = Concat <axis = 0> (resize_n, {sizes.length}, resize_rest)
   {p}_rows = Reshape ({p}_moved, {p}_rows_shape)
   {p}_in = Cast <to = 6> ({sizes.length}){_weights(p, side)}{_sum(p)}
   {p}_back_shape = Concat <axis = 0> (resize_n, resize_side, {sizes.outer}, {sizes.inner})
   {p}_back = Reshape ({p}_pixels, {p}_back_shape)
   {p}_resized = {turn} ({p}_back) }}>"""


def _weights(p: str, side: int) -> str:
    """`_index` (taps x out) names the pixels under each output's triangle, `_weight` (taps x out x 1) their weights."""
    return f"""
   {p}_m = Max ({p}_in, resize_out)
   {p}_m2 = Add ({p}_m, {p}_m)
   {p}_centre = Mul (resize_odd, {p}_in)
   {p}_left = Sub ({p}_centre, {p}_m2)
   {p}_left_edge = Add ({p}_left, resize_out)
   {p}_left_inside = Max ({p}_left_edge, resize_zero){_divided(f"{p}_first", f"{p}_left_inside", "resize_out2")}
   {p}_taps_up = Add ({p}_m2, resize_out)
   {p}_taps_less = Sub ({p}_taps_up, resize_one)
   {p}_taps_1 = Div ({p}_taps_less, resize_out)
   {p}_taps = Squeeze ({p}_taps_1)
   {p}_range = Range (resize_from, {p}_taps, resize_step)
   {p}_tap = Unsqueeze ({p}_range, resize_last)
   {p}_x = Add ({p}_first, {p}_tap)
   {p}_x2 = Mul ({p}_x, resize_out2)
   {p}_place = Add ({p}_x2, resize_out)
   {p}_apart = Sub ({p}_place, {p}_centre)
   {p}_far = Abs ({p}_apart)
   {p}_near = Sub ({p}_m2, {p}_far)
   {p}_under = Max ({p}_near, resize_zero)
   {p}_inside = Less ({p}_x, {p}_in)
   {p}_share = Where ({p}_inside, {p}_under, resize_zero)
   {p}_share_low = BitwiseAnd ({p}_share, resize_byte)
   {p}_share_rest = Sub ({p}_share, {p}_share_low)
   {p}_share_high = Div ({p}_share_rest, resize_bits8)
   {p}_all_low = ReduceSum <keepdims = 1> ({p}_share_low, resize_axis0)
   {p}_all_high = ReduceSum <keepdims = 1> ({p}_share_high, resize_axis0)
   {p}_all_upper = Mul ({p}_all_high, resize_bits8)
   {p}_all = Add ({p}_all_upper, {p}_all_low){_quotient(p, side)}
   {p}_weight = Unsqueeze ({p}_rounded, resize_last)
   {p}_in_last = Sub ({p}_in, resize_one)
   {p}_index = Min ({p}_x, {p}_in_last)"""


def _quotient(p: str, side: int) -> str:
    """`_rounded`: share of all, in units of 2^-22 and rounded to the nearest, by a long division."""
    text, rest, quotient = "", f"{p}_share", "resize_zero"
    for i, bits in enumerate(_steps(side)):
        name = f"{p}_digit{i}"
        text += f"""
   {name}_more = Mul ({rest}, resize_bits{bits}){_divided(name, f"{name}_more", f"{p}_all")}
   {name}_earlier = Mul ({quotient}, resize_bits{bits})
   {name}_quotient = Add ({name}_earlier, {name})"""
        rest, quotient = f"{name}_rest", f"{name}_quotient"
    return f"""{text}
   {p}_rest2 = Add ({rest}, {rest})
   {p}_up = GreaterOrEqual ({p}_rest2, {p}_all)
   {p}_up_1 = Cast <to = 6> ({p}_up)
   {p}_rounded = Add ({quotient}, {p}_up_1)"""


def _steps(side: int) -> tuple[int, ...]:
    """Bits of the quotient that each step of the long division gives, 22 in all."""
    whole = 2 * LONGEST**2 // side
    bits = next((bits for bits in (5, 2) if (2**bits + 1) * whole < 2**31), 1)
    return (6, 6, *[bits] * (10 // bits))


def _divided(name: str, a: str, b: str) -> str:
    """`name` = a div b and `name`_rest, for engines too whose quotient is off by one."""
    return f"""
   {name}_guess = Div ({a}, {b})
   {name}_guessed = Mul ({name}_guess, {b})
   {name}_over = Sub ({a}, {name}_guessed)
   {name}_high = Less ({name}_over, resize_zero)
   {name}_low = GreaterOrEqual ({name}_over, {b})
   {name}_minus = Cast <to = 6> ({name}_high)
   {name}_plus = Cast <to = 6> ({name}_low)
   {name}_mend = Sub ({name}_plus, {name}_minus)
   {name} = Add ({name}_guess, {name}_mend)
   {name}_mended = Mul ({name}_mend, {b})
   {name}_rest = Sub ({name}_over, {name}_mended)"""


def _sum(p: str) -> str:
    """`_pixels`: the sum of weight times pixel over the taps, rounded to 8 bits.

    The lower bits are cut off first: the rest is exact as float32, so that nothing is rounded where it is scaled.
    """

    def tap(end: str, number: str) -> str:
        return f"""
   {p}_places{end} = Gather <axis = 0> ({p}_index, {number})
   {p}_bytes{end} = Gather <axis = 1> ({p}_rows, {p}_places{end})
   {p}_values{end} = Cast <to = 6> ({p}_bytes{end})
   {p}_factor{end} = Gather <axis = 0> ({p}_weight, {number})
   {p}_product{end} = Mul ({p}_values{end}, {p}_factor{end})"""

    return f"""{tap("_0", "resize_first")}
   {p}_start = Add ({p}_product_0, resize_half)
   {p}_taps_64 = Cast <to = 7> ({p}_taps)
   {p}_others = Sub ({p}_taps_64, resize_next)
   {p}_sum = Loop ({p}_others, resize_yes, {p}_start) <body = {p}_body
    (int64 {p}_i, bool {p}_on, int32[N, s, r] {p}_before) => (bool {p}_still, int32[N, s, r] {p}_after) {{
   {p}_number = Add ({p}_i, resize_next){tap("_k", f"{p}_number")}
   {p}_after = Add ({p}_before, {p}_product_k)
   {p}_still = Identity ({p}_on) }}>
   {p}_upper = BitwiseAnd ({p}_sum, resize_mask)
   {p}_float = Cast <to = 1> ({p}_upper)
   {p}_scaled = Mul ({p}_float, resize_unit)
   {p}_pixels = Cast <to = 2> ({p}_scaled)"""
