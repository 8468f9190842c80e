// One position of 'conv'. latency 1 clocks.
module cnn_conv_0 (
    input  wire clk,
    input  wire x0,
    input  wire x1,
    input  wire x2,
    input  wire x3,
    output wire y0
);
    wire n0 = x0;
    wire n1 = x1;
    wire n2 = x2;
    wire n3 = x3;
    wire [2:0] n4 = {1'd0, n0, 1'd0} - {2'd0, n3};
    wire [1:0] n5 = {1'd0, n2} + {1'd0, n1};
    wire [3:0] n6 = {{1{n4[2]}}, n4} + {2'd0, n5};
    wire [2:0] n8 = 3'd0 - n6[2:0];
    wire [4:0] n15 = {n8, 2'd0} + 5'd3;
    wire [2:0] n16 = n15[4:2];
    reg [2:0] n16_d1;
    always @(posedge clk) begin n16_d1 <= n16; end
    wire n17 = n16_d1[0] & {1{~n16_d1[2]}};
    assign y0 = n17;
    // Bits that quantizing drops are not read:
    wire unused = &{1'b0, n6, n15, n16_d1};
endmodule

// One position of 'conv'. latency 1 clocks.
module cnn_conv_1 (
    input  wire clk,
    input  wire x0,
    input  wire x1,
    input  wire x2,
    input  wire x3,
    output wire [1:0] y0
);
    wire n0 = x0;
    wire n1 = x1;
    wire n2 = x2;
    wire n3 = x3;
    wire [1:0] n4 = {1'd0, n0} + {1'd0, n3};
    wire [1:0] n5 = {1'd0, n3} + {1'd0, n1};
    wire [3:0] n6 = {2'd0, n4} - {n5, 2'd0};
    wire [1:0] n7 = {1'd0, n2} + {1'd0, n3};
    wire [2:0] n8 = {{{1{1'b0}}, n7[1]} + {1'd0, n0}, n7[0]};
    wire [3:0] n9 = {1'd0, n8} + n6;
    wire [4:0] n14 = {n9, 1'd0} + 5'd3;
    wire [2:0] n15 = n14[4:2];
    reg [2:0] n15_d1;
    always @(posedge clk) begin n15_d1 <= n15; end
    wire [1:0] n16 = n15_d1[1:0] & {2{~n15_d1[2]}};
    assign y0 = n16;
    // Bits that quantizing drops are not read:
    wire unused = &{1'b0, n7, n14, n15_d1};
endmodule

// One position of 'conv'. latency 1 clocks.
module cnn_conv_2 (
    input  wire clk,
    input  wire x0,
    input  wire x1,
    input  wire x2,
    input  wire x3,
    output wire y0,
    output wire y1
);
    wire n0 = x0;
    wire n1 = x1;
    wire n2 = x2;
    wire n3 = x3;
    wire [1:0] n4 = {1'd0, n3} + {n0, 1'd0};
    wire [3:0] n5 = {1'd0, n1, 2'd0} - {3'd0, n1};
    wire [2:0] n6 = {2'd0, n0} - {n2, 2'd0};
    wire [3:0] n7 = {{1{n6[2]}}, n6} - n5;
    wire [4:0] n8 = {{{1{n7[3]}}, n7[3:1]} - {2'd0, n4}, n7[0]};
    wire [3:0] n9 = {n5[3:2] - {1'd0, n2}, n5[1:0]};
    wire [3:0] n10 = n9 - {2'd0, n4};
    wire [5:0] n15 = {n8, 1'd0} + 6'd3;
    wire [3:0] n16 = n15[5:2];
    reg [3:0] n16_d1;
    always @(posedge clk) begin n16_d1 <= n16; end
    wire n17 = n16_d1[0] & {1{~n16_d1[3]}};
    wire [5:0] n18 = {{1{n10[3]}}, n10, 1'd0} + 6'd63;
    wire [3:0] n19 = n18[5:2];
    reg [3:0] n19_d1;
    always @(posedge clk) begin n19_d1 <= n19; end
    wire n20 = n19_d1[0] & {1{~n19_d1[3]}};
    assign y0 = n17;
    assign y1 = n20;
    // Bits that quantizing drops are not read:
    wire unused = &{1'b0, n7, n15, n16_d1, n18, n19_d1};
endmodule

// One position of 'conv'. latency 1 clocks.
module cnn_conv_3 (
    input  wire clk,
    input  wire x0,
    input  wire x1,
    input  wire x2,
    input  wire x3,
    output wire [1:0] y0
);
    wire n0 = x0;
    wire n1 = x1;
    wire n2 = x2;
    wire n3 = x3;
    wire [1:0] n4 = {1'd0, n1} - {1'd0, n2};
    wire [2:0] n5 = {2'd0, n0} - {{1{n4[1]}}, n4};
    wire [2:0] n9 = n5 - {2'd0, n3};
    wire [4:0] n10 = {n9, 2'd0} - {{2{n5[2]}}, n5};
    reg [4:0] n10_d1;
    always @(posedge clk) begin n10_d1 <= n10; end
    wire [5:0] n15 = {n10_d1, 1'd0} + 6'd3;
    wire [3:0] n16 = n15[5:2];
    wire [2:0] n17 = n16[2:0] & {3{~n16[3]}};
    wire [1:0] n18 = (|n17[2]) ? 2'd3 : n17[1:0];
    assign y0 = n18;
    // Bits that quantizing drops are not read:
    wire unused = &{1'b0, n15, n16, n17};
endmodule

// One position of 'MaxPool'. no registers.
module cnn_maxpool_0 (
    input  wire x0,
    input  wire [1:0] x1,
    input  wire x2,
    input  wire [1:0] x3,
    output wire [1:0] y0
);
    wire n0 = x0;
    wire [1:0] n1 = x1;
    wire n2 = x2;
    wire [1:0] n3 = x3;
    wire n4 = {1'd0, n0} >= n1;
    wire [1:0] n5 = n4 ? {1'd0, n0} : n1;
    wire n6 = {1'd0, n2} >= n3;
    wire [1:0] n7 = n6 ? {1'd0, n2} : n3;
    wire n8 = n5 >= n7;
    wire [1:0] n9 = n8 ? n5 : n7;
    assign y0 = n9;
endmodule

// One position of 'MaxPool'. no registers.
module cnn_maxpool_1 (
    input  wire x0,
    output wire y0
);
    wire n0 = x0;
    wire n1 = 1'd0 >= n0;
    wire n2 = n1 ? 1'd0 : n0;
    assign y0 = n2;
endmodule

// One position of 'head'. no registers.
module cnn_head_0 (
    input  wire [1:0] x0,
    input  wire x1,
    output wire [4:0] y0,
    output wire [5:0] y1,
    output wire [2:0] y2
);
    wire [1:0] n0 = x0;
    wire n1 = x1;
    wire [3:0] n2 = {3'd0, n1} + {n0, 2'd0};
    wire [3:0] n3 = {2'd0, n0} + {n1, 3'd0};
    wire [5:0] n4 = {{{2{1'b0}}, n3[3:1]} - {1'd0, n2}, n3[0]};
    wire [4:0] n5 = 5'd0 - {1'd0, n2};
    wire [2:0] n6 = 3'd0 - {1'd0, n0};
    assign y0 = n5;
    assign y1 = n4;
    assign y2 = n6;
    // Bits that quantizing drops are not read:
    wire unused = &{1'b0, n3};
endmodule
