"""Native code that puts a map's entries in order: LLVM IR → an object for `runtime.host_code`."""

from __future__ import annotations

from .host import to_object

_ORDER = """
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)

define i64 @order(ptr %keys, ptr %values, i64 %count, i64 %stride, i64 %copies, i64 %step,
                  ptr %pairs, ptr %room, i64 %signs) {
start:
  %counts = alloca [256 x i64]
  br label %fill

; pairs of a key and the sum of its copies
fill:
  %i = phi i64 [ 0, %start ], [ %i.next, %filled ]
  %i.more = icmp ult i64 %i, %count
  br i1 %i.more, label %entry, label %digits
entry:
  %row = mul i64 %i, %stride
  br label %sum
sum:
  %c = phi i64 [ 0, %entry ], [ %c.next, %sum ]
  %total = phi i64 [ 0, %entry ], [ %total.next, %sum ]
  %c.word = mul i64 %c, %step
  %c.at = add i64 %row, %c.word
  %value.at = getelementptr i64, ptr %values, i64 %c.at
  %value = load i64, ptr %value.at
  %total.next = add i64 %total, %value
  %c.next = add i64 %c, 1
  %c.more = icmp ult i64 %c.next, %copies
  br i1 %c.more, label %sum, label %filled
filled:
  %key.at = getelementptr i64, ptr %keys, i64 %i
  %key = load i64, ptr %key.at
  %pair = getelementptr [2 x i64], ptr %pairs, i64 %i
  store i64 %key, ptr %pair
  %second = getelementptr i64, ptr %pair, i64 1
  store i64 %total.next, ptr %second
  %i.next = add i64 %i, 1
  br label %fill

; a stable sort by each byte, the key's lowest first, the value's highest last
digits:
  %d = phi i64 [ 0, %fill ], [ %d.next, %sorted ]
  %from = phi ptr [ %pairs, %fill ], [ %from.next, %sorted ]
  %to = phi ptr [ %room, %fill ], [ %to.next, %sorted ]
  %d.more = icmp ult i64 %d, 16
  br i1 %d.more, label %clear, label %end
clear:
  call void @llvm.memset.p0.i64(ptr %counts, i8 0, i64 2048, i1 false)
  %marked = lshr i64 %signs, %d
  %bit = trunc i64 %marked to i8
  %flip = shl i8 %bit, 7
  br label %tally
tally:
  %j = phi i64 [ 0, %clear ], [ %j.next, %tally.one ]
  %j.more = icmp ult i64 %j, %count
  br i1 %j.more, label %tally.one, label %skip
tally.one:
  %j.pair = getelementptr [2 x i64], ptr %from, i64 %j
  %j.at = getelementptr i8, ptr %j.pair, i64 %d
  %j.byte = load i8, ptr %j.at
  %j.digit = xor i8 %j.byte, %flip
  %j.index = zext i8 %j.digit to i64
  %j.slot = getelementptr i64, ptr %counts, i64 %j.index
  %j.old = load i64, ptr %j.slot
  %j.new = add i64 %j.old, 1
  store i64 %j.new, ptr %j.slot
  %j.next = add i64 %j, 1
  br label %tally

; a byte that is the same in all pairs changes nothing
skip:
  %most = phi i64 [ 0, %tally ], [ %most.next, %skip.one ]
  %s = phi i64 [ 0, %tally ], [ %s.next, %skip.one ]
  %place = phi i64 [ 0, %tally ], [ %place.next, %skip.one ]
  %s.more = icmp ult i64 %s, 256
  br i1 %s.more, label %skip.one, label %skipped
skip.one:
  %s.slot = getelementptr i64, ptr %counts, i64 %s
  %s.count = load i64, ptr %s.slot
  store i64 %place, ptr %s.slot
  %place.next = add i64 %place, %s.count
  %s.larger = icmp ugt i64 %s.count, %most
  %most.next = select i1 %s.larger, i64 %s.count, i64 %most
  %s.next = add i64 %s, 1
  br label %skip
skipped:
  %same = icmp eq i64 %most, %count
  br i1 %same, label %sorted, label %move
move:
  %m = phi i64 [ 0, %skipped ], [ %m.next, %move.one ]
  %m.more = icmp ult i64 %m, %count
  br i1 %m.more, label %move.one, label %sorted
move.one:
  %m.pair = getelementptr [2 x i64], ptr %from, i64 %m
  %m.at = getelementptr i8, ptr %m.pair, i64 %d
  %m.byte = load i8, ptr %m.at
  %m.digit = xor i8 %m.byte, %flip
  %m.index = zext i8 %m.digit to i64
  %m.slot = getelementptr i64, ptr %counts, i64 %m.index
  %m.place = load i64, ptr %m.slot
  %m.after = add i64 %m.place, 1
  store i64 %m.after, ptr %m.slot
  %m.to = getelementptr [2 x i64], ptr %to, i64 %m.place
  %m.pair.value = load i128, ptr %m.pair, align 8
  store i128 %m.pair.value, ptr %m.to, align 8
  %m.next = add i64 %m, 1
  br label %move
sorted:
  %from.next = phi ptr [ %from, %skipped ], [ %to, %move ]
  %to.next = phi ptr [ %to, %skipped ], [ %from, %move ]
  %d.next = add i64 %d, 1
  br label %digits
end:
  %moved = icmp ne ptr %from, %pairs
  %where = zext i1 %moved to i64
  ret i64 %where
}
"""


def make_order() -> bytes:
    """An object with the function `order` (`pieces.HostCode`)."""
    return to_object(_ORDER)
