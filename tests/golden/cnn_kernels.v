// One position of 'conv'. no registers.
module cnn_conv_0 (
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
    wire [3:0] n4 = {n3, n2, n1, n0};
    reg n5;
    always @* begin
        case (n4)
            4'd8: n5 = 1'd1;
            default: n5 = 1'd0;
        endcase
    end
    assign y0 = n5;
endmodule

// One position of 'conv'. no registers.
module cnn_conv_1 (
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
    wire [3:0] n4 = {n3, n2, n1, n0};
    reg [1:0] n5;
    always @* begin
        case (n4)
            4'd1: n5 = 2'd2;
            4'd4: n5 = 2'd1;
            4'd5: n5 = 2'd2;
            4'd9: n5 = 2'd1;
            4'd13: n5 = 2'd1;
            default: n5 = 2'd0;
        endcase
    end
    assign y0 = n5;
endmodule

// One position of 'conv'. no registers.
module cnn_conv_2 (
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
    wire [3:0] n4 = {n3, n2, n1, n0};
    reg n6;
    always @* begin
        case (n4)
            4'd2: n6 = 1'd1;
            default: n6 = 1'd0;
        endcase
    end
    assign y0 = n6;
endmodule

// One position of 'conv'. no registers.
module cnn_conv_3 (
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
    wire [3:0] n4 = {n3, n2, n1, n0};
    reg [1:0] n5;
    always @* begin
        case (n4)
            4'd1: n5 = 2'd2;
            4'd4: n5 = 2'd2;
            4'd5: n5 = 2'd3;
            4'd7: n5 = 2'd2;
            4'd13: n5 = 2'd1;
            default: n5 = 2'd0;
        endcase
    end
    assign y0 = n5;
endmodule

// One position of 'MaxPool'. no registers.
module cnn_maxpool_0 (
    input  wire x0,
    input  wire [1:0] x1,
    input  wire [1:0] x2,
    output wire [1:0] y0
);
    wire n0 = x0;
    wire [1:0] n1 = x1;
    wire [1:0] n2 = x2;
    wire n3 = {1'd0, n0} >= n1;
    wire [1:0] n4 = n3 ? {1'd0, n0} : n1;
    wire n5 = 2'd0 >= n2;
    wire [1:0] n6 = n5 ? 2'd0 : n2;
    wire n7 = n4 >= n6;
    wire [1:0] n8 = n7 ? n4 : n6;
    assign y0 = n8;
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
    wire [2:0] n2 = {n1, n0};
    reg [4:0] n3;
    always @* begin
        case (n2)
            3'd1: n3 = 5'd28;
            3'd2: n3 = 5'd24;
            3'd3: n3 = 5'd20;
            3'd4: n3 = 5'd31;
            3'd5: n3 = 5'd27;
            3'd6: n3 = 5'd23;
            3'd7: n3 = 5'd19;
            default: n3 = 5'd0;
        endcase
    end
    reg [5:0] n5;
    always @* begin
        case (n2)
            3'd1: n5 = 6'd57;
            3'd2: n5 = 6'd50;
            3'd3: n5 = 6'd43;
            3'd4: n5 = 6'd6;
            3'd5: n5 = 6'd63;
            3'd6: n5 = 6'd56;
            3'd7: n5 = 6'd49;
            default: n5 = 6'd0;
        endcase
    end
    reg [2:0] n6;
    always @* begin
        case (n0)
            2'd1: n6 = 3'd7;
            2'd2: n6 = 3'd6;
            2'd3: n6 = 3'd5;
            default: n6 = 3'd0;
        endcase
    end
    assign y0 = n3;
    assign y1 = n5;
    assign y2 = n6;
endmodule
