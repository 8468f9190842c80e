// The whole network 'cnn'. Latency 5 clocks, initiation interval 1.
// rst is synchronous; it clears the valid chain only, the data need no reset.
module cnn (
    input  wire clk,
    input  wire rst,
    input  wire in_valid,
    input  wire [3:0] in_data,
    output wire out_valid,
    output wire [15:0] out_data
);
    wire n0 = in_data[0];
    wire n1 = in_data[1];
    wire n2 = in_data[2];
    wire n3 = in_data[3];
    wire n4;
    cnn_conv_0 conv_1_at_0 (.clk(clk), .x0(n0), .x1(n1), .x2(n2), .x3(n3), .y0(n4));
    reg n4_d1;
    always @(posedge clk) begin n4_d1 <= n4; end
    wire [1:0] n5;
    cnn_conv_1 conv_1_at_1 (.clk(clk), .x0(n0), .x1(n1), .x2(n2), .x3(n3), .y0(n5));
    reg [1:0] n5_d1;
    always @(posedge clk) begin n5_d1 <= n5; end
    wire n6;
    wire n7;
    cnn_conv_2 conv_1_at_2 (.clk(clk), .x0(n0), .x1(n1), .x2(n2), .x3(n3), .y0(n6), .y1(n7));
    reg n6_d1;
    always @(posedge clk) begin n6_d1 <= n6; end
    wire [1:0] n8;
    cnn_conv_3 conv_1_at_3 (.clk(clk), .x0(n0), .x1(n1), .x2(n2), .x3(n3), .y0(n8));
    reg [1:0] n8_d1;
    always @(posedge clk) begin n8_d1 <= n8; end
    wire [1:0] n9;
    cnn_maxpool_0 maxpool_4_at_0 (.x0(n4_d1), .x1(n5_d1), .x2(n6_d1), .x3(n8_d1), .y0(n9));
    reg [1:0] n9_d1;
    always @(posedge clk) begin n9_d1 <= n9; end
    wire n10;
    cnn_maxpool_1 maxpool_4_at_1 (.x0(n7), .y0(n10));
    reg n10_d1, n10_d2;
    always @(posedge clk) begin n10_d1 <= n10; n10_d2 <= n10_d1; end
    wire [4:0] n11;
    wire [5:0] n12;
    wire [2:0] n13;
    cnn_head_0 head_6_at_0 (.x0(n9_d1), .x1(n10_d2), .y0(n11), .y1(n12), .y2(n13));
    reg [4:0] n11_d1, n11_d2;
    always @(posedge clk) begin n11_d1 <= n11; n11_d2 <= n11_d1; end
    reg [5:0] n12_d1, n12_d2;
    always @(posedge clk) begin n12_d1 <= n12; n12_d2 <= n12_d1; end
    reg [2:0] n13_d1, n13_d2;
    always @(posedge clk) begin n13_d1 <= n13; n13_d2 <= n13_d1; end
    wire n14 = $signed({n11, 1'd0}) >= $signed(n12);
    wire n15 = n14 ? 1'd0 : 1'd1;
    reg n15_d1;
    always @(posedge clk) begin n15_d1 <= n15; end
    wire [5:0] n17 = n14 ? {n11, 1'd0} : n12;
    reg [5:0] n17_d1;
    always @(posedge clk) begin n17_d1 <= n17; end
    wire n18 = $signed(n17_d1) >= $signed({{3{n13_d1[2]}}, n13_d1});
    wire [1:0] n19 = n18 ? {1'd0, n15_d1} : 2'd2;
    reg [1:0] n19_d1;
    always @(posedge clk) begin n19_d1 <= n19; end
    assign out_data[4:0] = n11_d2;
    assign out_data[10:5] = n12_d2;
    assign out_data[13:11] = n13_d2;
    assign out_data[15:14] = n19_d1;
    reg [4:0] valid;
    always @(posedge clk) begin
        if (rst) valid <= 5'd0;
        else valid <= {valid[3:0], in_valid};
    end
    assign out_valid = valid[4];
endmodule
